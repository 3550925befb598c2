package main

import (
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// client asks for one resource in one encoding.
type client struct {
	rest     *rest.RESTClient
	resource schema.GroupVersionResource
	kind     schema.GroupVersionKind
}

// connect makes a client for a resource written as GROUP/VERSION/RESOURCE.
func connect(o options, resource string) (*client, error) {
	// Without a file it is the pod's own configuration.
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return nil, err
	}
	return connectAs(config, o, resource)
}

// connectAs makes a client that reaches its server as config says.
func connectAs(config *rest.Config, o options, resource string) (*client, error) {
	gvr, err := parseResource(resource)
	if err != nil {
		return nil, err
	}
	kind, err := kindOf(gvr)
	if err != nil {
		return nil, err
	}
	mediaTypes := map[string]string{"json": runtime.ContentTypeJSON, "protobuf": runtime.ContentTypeProtobuf}
	mediaType, known := mediaTypes[o.encoding]
	if !known {
		return nil, fmt.Errorf("encoding %q is neither json nor protobuf", o.encoding)
	}
	config.ContentType, config.AcceptContentTypes = mediaType, mediaType
	gv := gvr.GroupVersion()
	config.GroupVersion, config.APIPath = &gv, "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	// The server's and the network's pace is what is looked at, not the client's own brake.
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return teller{next} })
	asked, err := rest.RESTClientFor(config)
	return &client{rest: asked, resource: gvr, kind: kind}, err
}

func parseResource(text string) (schema.GroupVersionResource, error) {
	parts := strings.Split(text, "/")
	switch len(parts) {
	case 2:
		return schema.GroupVersionResource{Version: parts[0], Resource: parts[1]}, nil
	case 3:
		return schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]}, nil
	}
	return schema.GroupVersionResource{}, fmt.Errorf("%q is not GROUP/VERSION/RESOURCE", text)
}

// kindOf finds the type that client-go has for a resource.
func kindOf(gvr schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	for kind := range scheme.Scheme.AllKnownTypes() {
		if plural, _ := meta.UnsafeGuessKindToResource(kind); plural == gvr {
			return kind, nil
		}
	}
	return schema.GroupVersionKind{}, fmt.Errorf("client-go has no type for %s", gvr)
}

// teller says every request that goes out and how it was answered, so that a relist is seen and not guessed.
type teller struct{ next http.RoundTripper }

func (t teller) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	told := line{Type: "request", Verb: request.Method, Path: request.URL.RequestURI()}
	if err != nil {
		told.Error = err.Error()
	} else {
		told.Status = response.StatusCode
	}
	say(told)
	return response, err
}
