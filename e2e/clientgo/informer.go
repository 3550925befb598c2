package main

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
)

// inform runs an informer until ctx ends and says everything it hands to its handlers.
func (c *client) inform(ctx context.Context, o options) error {
	example, err := scheme.Scheme.New(c.kind)
	if err != nil {
		return err
	}
	source := cache.NewFilteredListWatchFromClient(c.rest, c.resource.Resource, o.namespace, func(list *metav1.ListOptions) {
		list.FieldSelector, list.LabelSelector = o.fieldSelector, o.labelSelector
	})
	informer := cache.NewSharedIndexInformerWithOptions(source, example, cache.SharedIndexInformerOptions{})
	err = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		say(failure("error", err))
	})
	if err != nil {
		return err
	}
	handler, err := informer.AddEventHandler(handlers())
	if err != nil {
		return err
	}
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			say(line{Type: "synced"})
		}
	}()
	informer.RunWithContext(ctx)
	return nil
}

func handlers() cache.ResourceEventHandlerDetailedFuncs {
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, initial bool) {
			told := event("added", object)
			told.Initial = initial
			say(told)
		},
		UpdateFunc: func(_, object any) { say(event("modified", object)) },
		DeleteFunc: func(object any) {
			// The informer missed the deletion and noticed it in a list.
			if unknown, missed := object.(cache.DeletedFinalStateUnknown); missed {
				told := event("deleted", unknown.Obj)
				told.Error = "the last state was not seen"
				say(told)
				return
			}
			say(event("deleted", object))
		},
	}
}

func event(kind string, object any) line {
	known, fits := object.(runtime.Object)
	if !fits {
		return line{Type: kind, Error: "not an object"}
	}
	return about(kind, known)
}
