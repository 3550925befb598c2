package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
)

// sequence is the annotation in which the writer counts the states of an object name, over deletions too.
const sequence = "e2e.invalid/sequence"

// follow runs an informer in each encoding for each resource and tells of each what its store holds, how often it was
// given everything anew, and every event that does not follow from those before.
func follow(ctx context.Context, o options, resources []string) error {
	var running sync.WaitGroup
	for _, resource := range resources {
		for _, encoding := range []string{"json", "protobuf"} {
			own := o
			own.encoding = encoding
			client, err := connect(own, resource)
			if err != nil {
				return err
			}
			f := &follower{name: resource + " " + encoding, known: map[string]state{}}
			if err := f.start(ctx, client, own, &running); err != nil {
				return err
			}
		}
	}
	running.Wait()
	return nil
}

// state is the last that came of one object name.
type state struct {
	uid      string
	version  int64
	sequence int64
	there    bool
}

// follower looks at what one informer is given.
type follower struct {
	name     string
	informer cache.SharedIndexInformer

	mutex sync.Mutex
	known map[string]state
	told  line
}

func (f *follower) start(ctx context.Context, c *client, o options, running *sync.WaitGroup) error {
	example, err := scheme.Scheme.New(c.kind)
	if err != nil {
		return err
	}
	source := cache.NewFilteredListWatchFromClient(c.rest, c.resource.Resource, o.namespace, func(list *metav1.ListOptions) {
		if c.resource.Resource == "pods" {
			list.FieldSelector = o.fieldSelector
		}
	})
	f.informer = cache.NewSharedIndexInformerWithOptions(f.looked(source), example, cache.SharedIndexInformerOptions{})
	running.Go(func() { f.informer.RunWithContext(ctx) })
	running.Go(func() { f.tell(ctx) })
	return nil
}

// looked is source, looked at on the way.
func (f *follower) looked(source *cache.ListWatch) *cache.ListWatch {
	list, watchFrom := source.ListWithContextFunc, source.WatchFuncWithContext
	source.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		answer, err := list(ctx, options)
		if err == nil {
			f.listed(answer)
		}
		return answer, err
	}
	source.WatchFuncWithContext = func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		stream, err := watchFrom(ctx, options)
		if err != nil {
			return nil, err
		}
		if options.SendInitialEvents != nil && *options.SendInitialEvents {
			f.begin()
		}
		return watch.Filter(stream, f.came), nil
	}
	source.ListFunc, source.WatchFunc = nil, nil
	return source
}

// begin is a list or the beginning of a watch-list: everything comes anew.
func (f *follower) begin() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.told.Lists++
	for key, last := range f.known {
		last.there = false
		f.known[key] = last
	}
}

func (f *follower) listed(list runtime.Object) {
	f.begin()
	_ = meta.EachListItem(list, func(object runtime.Object) error {
		f.came(watch.Event{Type: watch.Added, Object: object})
		return nil
	})
}

// came holds an event against those before.
func (f *follower) came(event watch.Event) (watch.Event, bool) {
	if event.Type == watch.Bookmark || event.Type == watch.Error {
		return event, true
	}
	object, err := meta.Accessor(event.Object)
	if err != nil {
		return event, true
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	key := object.GetNamespace() + "/" + object.GetName()
	last, known := f.known[key]
	next := state{uid: string(object.GetUID()), there: event.Type != watch.Deleted}
	next.version, _ = strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	next.sequence, _ = strconv.ParseInt(object.GetAnnotations()[sequence], 10, 64)
	f.told.Events++
	if fault := wrong(event.Type, last, next, f.told.Lists > 1); fault != "" {
		f.told.Faults++
		say(line{Type: "fault", Key: f.name, Error: fmt.Sprintf("%s %s: %s: %+v after %+v", event.Type, key, fault, next, last)})
	}
	if known && next.sequence > last.sequence+1 {
		f.told.Skipped += next.sequence - last.sequence - 1
		say(line{Type: "skipped", Key: f.name, Error: fmt.Sprintf("%s %s: %d to %d", event.Type, key, last.sequence, next.sequence)})
	}
	f.known[key] = next
	return event, true
}

// wrong says why an event cannot follow; after a relist versions may begin anew.
func wrong(kind watch.EventType, last, next state, relisted bool) string {
	switch {
	case next.version == 0:
		return "no resourceVersion"
	case kind == watch.Added && last.there:
		return "it is there already"
	case kind != watch.Added && !last.there:
		return "it is not there"
	case next.sequence < last.sequence:
		return "it goes back"
	case kind != watch.Added && next.uid != last.uid:
		return "it is another one"
	case next.version <= last.version && !relisted:
		return "its version does not rise"
	}
	return ""
}

// tell says once a second how things stand, if that has changed.
func (f *follower) tell(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var before line
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !f.informer.HasSynced() {
			continue
		}
		objects := f.informer.GetStore().List()
		f.mutex.Lock()
		now := f.told
		f.mutex.Unlock()
		now.Type, now.Key, now.Objects, now.Hash = "state", f.name, len(objects), digest(objects)
		if now != before {
			say(now)
		}
		before = now
	}
}

// digest is the same for two stores that hold the same objects, whatever their resourceVersions.
func digest(objects []any) string {
	lines := make([]string, 0, len(objects))
	for _, object := range objects {
		if known, fits := object.(runtime.Object); fits {
			told := about("", known)
			lines = append(lines, told.Key+" "+told.UID+" "+told.Hash)
		}
	}
	sort.Strings(lines)
	sum := sha256.Sum256([]byte(fmt.Sprint(lines)))
	return hex.EncodeToString(sum[:8])
}
