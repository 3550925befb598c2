// Command clientgo is a client of the API server made of client-go alone: an informer that tells what it sees, and
// single requests, each in JSON or Kubernetes protobuf. Everything it says is one JSON document a line on stdout.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: clientgo [flags] watch GROUP/VERSION/RESOURCE
       clientgo [flags] follow GROUP/VERSION/RESOURCE...
       clientgo [flags] write
       clientgo [flags] cross GROUP/VERSION/RESOURCE NAME
       clientgo [flags] list|get|patch|put|delete GROUP/VERSION/RESOURCE [NAME[/SUBRESOURCE]]

The core group is written as v1/pods. follow looks whether the events of informers follow from each other; write changes
objects of four resources without end; cross lets one client change between two servers, over one object. patch and put read their body, in JSON, from stdin.
`

// options are the flags, the same for every verb.
type options struct {
	kubeconfig, other, encoding, namespace   string
	fieldSelector, labelSelector             string
	resourceVersion, patchType, precondition string
	watchList                                bool
	gracePeriod, seed                        int64
}

func parse() (options, []string) {
	var o options
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flag.PrintDefaults()
	}
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that names the server; without it the pod's own service account is used")
	flag.StringVar(&o.other, "other", "", "`file` that names the server that cross changes to")
	flag.StringVar(&o.encoding, "encoding", "protobuf", "json or protobuf, for bodies and answers")
	flag.StringVar(&o.namespace, "namespace", "", "namespace; without it all of them, or a resource that has none")
	flag.StringVar(&o.fieldSelector, "field-selector", "", "selector of watch and list")
	flag.StringVar(&o.labelSelector, "label-selector", "", "selector of watch and list")
	flag.StringVar(&o.resourceVersion, "resource-version", "", "of get and list")
	flag.StringVar(&o.patchType, "patch-type", "strategic", "strategic, merge or json")
	flag.StringVar(&o.precondition, "uid", "", "what the deleted object's uid must be")
	flag.BoolVar(&o.watchList, "watch-list", true, "let the informer begin with a watch-list")
	flag.Int64Var(&o.gracePeriod, "grace-period", -1, "seconds that a deleted object may take; -1: its own")
	flag.Int64Var(&o.seed, "seed", 1, "of write: the same seed, the same writes")
	flag.Parse()
	return o, flag.Args()
}

func run(ctx context.Context, o options, words []string) error {
	// client-go reads this once, when it first asks for the feature.
	if err := os.Setenv("KUBE_FEATURE_WatchListClient", fmt.Sprint(o.watchList)); err != nil {
		return err
	}
	if len(words) == 1 && words[0] == "write" {
		return write(ctx, o)
	}
	if len(words) < 2 {
		return errors.New("a verb and a resource are needed; see -help")
	}
	verb, resource := words[0], words[1]
	if verb == "follow" {
		return follow(ctx, o, words[1:])
	}
	if verb == "cross" && len(words) == 3 {
		return cross(ctx, o, resource, words[2])
	}
	client, err := connect(o, resource)
	if err != nil {
		return err
	}
	if verb == "watch" {
		return client.inform(ctx, o)
	}
	name := ""
	if len(words) > 2 {
		name = words[2]
	}
	return client.once(ctx, o, verb, name)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o, words := parse()
	if err := run(ctx, o, words); err != nil {
		say(failure("error", err))
		os.Exit(1)
	}
}
