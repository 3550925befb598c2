package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// once sends one request and says what it was answered with.
func (c *client) once(ctx context.Context, o options, verb, place string) error {
	request, err := c.request(o, verb)
	if err != nil {
		return err
	}
	request = request.NamespaceIfScoped(o.namespace, o.namespace != "").Resource(c.resource.Resource)
	if name, sub, found := strings.Cut(place, "/"); name != "" {
		request = request.Name(name)
		if found {
			request = request.SubResource(sub)
		}
	}
	answer, err := request.Do(ctx).Get()
	if err != nil {
		return err
	}
	// Typed objects lose their kind on the way; whoever reads the line wants it.
	if kinds, _, err := scheme.Scheme.ObjectKinds(answer); err == nil && len(kinds) > 0 {
		answer.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	say(line{Type: "object", Object: answer})
	return nil
}

func (c *client) request(o options, verb string) (*rest.Request, error) {
	switch verb {
	case "get":
		options := &metav1.GetOptions{ResourceVersion: o.resourceVersion}
		return c.rest.Get().VersionedParams(options, scheme.ParameterCodec), nil
	case "list":
		options := &metav1.ListOptions{
			ResourceVersion: o.resourceVersion,
			FieldSelector:   o.fieldSelector,
			LabelSelector:   o.labelSelector,
		}
		return c.rest.Get().VersionedParams(options, scheme.ParameterCodec), nil
	case "patch":
		return c.patch(o)
	case "put":
		return c.put()
	case "delete":
		return c.rest.Delete().Body(deletion(o)), nil
	}
	return nil, fmt.Errorf("%q is no verb; see -help", verb)
}

func (c *client) patch(o options) (*rest.Request, error) {
	known := map[string]types.PatchType{
		"strategic": types.StrategicMergePatchType,
		"merge":     types.MergePatchType,
		"json":      types.JSONPatchType,
	}
	patchType, fits := known[o.patchType]
	if !fits {
		return nil, fmt.Errorf("%q is no patch type; see -help", o.patchType)
	}
	body, err := io.ReadAll(os.Stdin)
	return c.rest.Patch(patchType).Body(body), err
}

// put sends the object that stdin holds, in the client's own encoding.
func (c *client) put() (*rest.Request, error) {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	object, err := runtime.Decode(scheme.Codecs.UniversalDeserializer(), body)
	return c.rest.Put().Body(object), err
}

func deletion(o options) *metav1.DeleteOptions {
	options := &metav1.DeleteOptions{}
	if o.gracePeriod >= 0 {
		options.GracePeriodSeconds = &o.gracePeriod
	}
	if o.precondition != "" {
		uid := types.UID(o.precondition)
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	return options
}
