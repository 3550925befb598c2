// Program requests writes random selectors, Accept headers and request lines, and what the API server's own code makes
// of them, as lines of JSON [what, input, outcome]:
//
//	cd crates/wire/oracle && go run ./requests 1 60000 2>/dev/null >/tmp/requests.jsonl
//	EDGEKEEP_WIRE_REQUESTS=/tmp/requests.jsonl cargo test -p wire --test requests
//
// The arguments are the seed and the number of rounds.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/request"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
)

// builtIn allows what an endpoint of a built-in resource allows.
type builtIn struct{}

func (builtIn) AllowsMediaTypeTransform(_, subtype string, kind *schema.GroupVersionKind) bool {
	switch {
	case kind == nil:
		return true
	case kind.Group != metav1.GroupName || kind.Version != "v1" && kind.Version != "v1beta1":
		return false
	case kind.Kind == "Table":
		return subtype == "json" || subtype == "yaml"
	}
	return kind.Kind == "PartialObjectMetadata" || kind.Kind == "PartialObjectMetadataList"
}
func (builtIn) AllowsServerVersion(version string) bool { return version == "v1" }
func (builtIn) AllowsStreamSchema(schema string) bool   { return schema == "watch" }

// source makes random texts.
type source struct{ *rand.Rand }

func (s source) pick(choices ...string) string { return choices[s.Intn(len(choices))] }

func (s source) many(most int, one func() string) string {
	var out strings.Builder
	for range s.Intn(most + 1) {
		out.WriteString(one())
	}
	return out.String()
}

func (s source) labelSelector() string {
	if s.Intn(2) == 0 {
		return s.many(9, func() string {
			return s.pick("a", "b.c/d", "in", "notin", " ", "=", "==", "!=", "!", "(", ")", ",", ">", "<", "1", "-x", "x_",
				"a/b/c", "é", "\t", "/", "A.b")
		})
	}
	return s.many(4, func() string {
		return s.pick("a", "k8s.io/x", "b") + s.pick("=", "==", "!=", " in ", " notin ", ">", "<", "") +
			s.pick("v", "(v,w)", "(w,v,v)", "(,v)", "()", "5", "") + s.pick(",", ",", "")
	})
}

func (s source) fieldSelector() string {
	return s.many(8, func() string {
		return s.pick("metadata.name", "a", "=", "==", "!=", "!", ",", "\\", "x", "\\,", "\\=", "é", "spec.nodeName=n",
			"metadata.name=foo", ",")
	})
}

func (s source) accept() string {
	param := func() string {
		return ";" + s.pick("as=Table", "g=meta.k8s.io", "v=v1", "v=v1beta1", "as=PartialObjectMetadata", "q=0.5", "q=0.9",
			"q=1", "q=x", "stream=watch", "stream=x", "stream=", "sv=v1", "sv=2", "pretty=1", "charset=utf-8",
			"as=Table;g=meta.k8s.io;v=v1", "x", "a==", "as=a=b", " q=0.1")
	}
	return s.many(4, func() string {
		return s.pick("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "*/*",
			"application/*", "text/html", "*", "application/cbor", "a/b/c", "", " application/json ") +
			s.many(3, param) + s.pick(",", ",", ", ", "")
	})
}

func (s source) target() string {
	path := s.pick("/api/v1", "/apis/apps/v1", "/apis", "/api", "/healthz", "//api/v1", "/apis/g", "/api/v1/watch",
		"/apis/x.y/v1beta1") + s.many(6, func() string {
		return "/" + s.pick("namespaces", "pods", "a", "status", "finalize", "watch", "proxy", "", "nodes", "log", "a%2Fb",
			"x%25y", "..", "é")
	})
	if s.Intn(2) == 0 {
		return path
	}
	return path + "?" + s.many(5, func() string {
		name := s.pick("watch", "limit", "timeoutSeconds", "resourceVersion", "resourceVersionMatch", "continue",
			"sendInitialEvents", "allowWatchBookmarks", "labelSelector", "fieldSelector", "x")
		switch name {
		case "labelSelector":
			return name + "=" + url.QueryEscape(s.labelSelector()) + "&"
		case "fieldSelector":
			return name + "=" + url.QueryEscape(s.fieldSelector()) + "&"
		}
		return name + "=" + s.pick("true", "false", "0", "1", "", "x", "FALSE", "Exact", "NotOlderThan", "-5",
			"9223372036854775808", "%31", "%zz", "a;b", "+", "5") + "&"
	})
}

func outcome(text fmt.Stringer, err error) string {
	if err != nil {
		return "ERR " + err.Error()
	}
	return text.String()
}

func negotiate(accept string) string {
	header := http.Header{"Accept": []string{accept}}
	chosen, _, err := negotiation.NegotiateOutputMediaType(
		&http.Request{Header: header, URL: &url.URL{}}, clientscheme.Codecs, builtIn{})
	if err != nil {
		return "ERR " + err.Error()
	}
	as := ""
	if chosen.Convert != nil {
		as = chosen.Convert.Kind + "." + chosen.Convert.Version
	}
	return fmt.Sprintf("%s %s %v", chosen.Accepted.MediaType, as, chosen.Pretty)
}

// list says what a list or watch asks for, before the name in the path is joined to it.
func list(query url.Values) string {
	options := internalversion.ListOptions{}
	if err := scheme.ParameterCodec.DecodeParameters(query, metav1.SchemeGroupVersion, &options); err != nil {
		return "ERR 400 " + err.Error()
	}
	internalversion.SetListOptionsDefaults(&options, true)
	if errs := validation.ValidateListOptions(&options, true); len(errs) > 0 {
		kind := schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}
		return "ERR 422 " + errors.NewInvalid(kind, "", errs).Error()
	}
	label, field, initial, timeout := "", "", "nil", "nil"
	if options.LabelSelector != nil {
		label = options.LabelSelector.String()
	}
	if options.FieldSelector != nil {
		field = options.FieldSelector.String()
	}
	if options.SendInitialEvents != nil {
		initial = strconv.FormatBool(*options.SendInitialEvents)
	}
	if options.TimeoutSeconds != nil {
		timeout = strconv.FormatInt(*options.TimeoutSeconds, 10)
	}
	return fmt.Sprintf("%s|%s|%v|%v|%s|%s|%s|%d|%s|%s", label, field, options.Watch, options.AllowWatchBookmarks,
		options.ResourceVersion, options.ResourceVersionMatch, timeout, options.Limit, options.Continue, initial)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: requests SEED ROUNDS")
	}
	seed, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	rounds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	say := func(what, input, outcome string) {
		if err := out.Encode([]string{what, input, outcome}); err != nil {
			log.Fatal(err)
		}
	}
	resolver := request.RequestInfoFactory{
		APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	s := source{rand.New(rand.NewSource(seed))}
	for range rounds {
		text := s.labelSelector()
		label, err := labels.Parse(text)
		say("label", text, outcome(label, err))
		text = s.fieldSelector()
		field, err := fields.ParseSelector(text)
		say("field", text, outcome(field, err))
		text = s.accept()
		say("accept", text, negotiate(text))

		method := s.pick("GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
		target := s.target()
		parsed, err := url.ParseRequestURI(target)
		if err != nil {
			continue
		}
		info, err := resolver.NewRequestInfo(&http.Request{Method: method, URL: parsed})
		line := method + " " + target
		switch {
		case err != nil:
			say("request", line, "ERR")
		case !info.IsResourceRequest:
			say("request", line, info.Verb+" NON "+info.Path)
		default:
			say("request", line, strings.Join([]string{info.Verb, info.APIGroup, info.APIVersion, info.Namespace,
				info.Resource, info.Name, info.Subresource}, "|"))
			// A verb in the path is another matter: such a watch is validated as a list.
			if (info.Verb == "list" || info.Verb == "watch") && !strings.Contains(target, "/watch/") {
				say("list", line, list(parsed.Query()))
			}
		}
	}
}
