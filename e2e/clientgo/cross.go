package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// nonce is the annotation that is changed to see who hears of it.
	nonce = "e2e.invalid/nonce"
	// patience is how long a change may take to be heard of.
	patience = 30 * time.Second
	rounds   = 2
)

// side is one of the two servers.
type side struct {
	*client
	name  string
	host  *url.URL
	trips http.RoundTripper
}

// crossing is one object seen from two servers, the node's and the cloud's own.
type crossing struct {
	sides     [2]side
	namespace string
	name      string
	changes   int
}

// cross lets an informer change between the servers while the object changes, and shows each server the other's
// resourceVersions in a list, a watch and a put.
func cross(ctx context.Context, o options, resource, name string) error {
	x := &crossing{namespace: o.namespace, name: name}
	for place, file := range []string{o.kubeconfig, o.other} {
		config, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			return err
		}
		s := side{name: [2]string{"hub", "cloud"}[place]}
		if s.trips, err = rest.TransportFor(config); err != nil {
			return err
		}
		if s.host, err = url.Parse(config.Host); err != nil {
			return err
		}
		if s.client, err = connectAs(config, o, resource); err != nil {
			return err
		}
		x.sides[place] = s
	}
	if err := x.informer(ctx, o, resource); err != nil {
		return err
	}
	for from := range x.sides {
		if err := x.show(ctx, x.sides[from], x.sides[1-from]); err != nil {
			return err
		}
	}
	return nil
}

// switcher sends every request to the server of the moment, whatever server it names.
type switcher struct {
	sides [2]side

	mutex   sync.Mutex
	present int
	open    []context.CancelFunc
}

func (s *switcher) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(request.Context())
	s.mutex.Lock()
	to := s.sides[s.present]
	s.open = append(s.open, cancel)
	s.mutex.Unlock()
	request = request.Clone(ctx)
	request.URL.Scheme, request.URL.Host, request.Host = to.host.Scheme, to.host.Host, to.host.Host
	return to.trips.RoundTrip(request)
}

// change turns to the other server and breaks off what is under way with this one.
func (s *switcher) change() (from, to string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	from = s.sides[s.present].name
	s.present = 1 - s.present
	for _, cancel := range s.open {
		cancel()
	}
	s.open = nil
	return from, s.sides[s.present].name
}

func (x *crossing) informer(ctx context.Context, o options, resource string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	between := &switcher{sides: x.sides}
	c, err := connectAs(&rest.Config{Host: x.sides[0].host.String(), Transport: between}, o, resource)
	if err != nil {
		return err
	}
	example, err := scheme.Scheme.New(c.kind)
	if err != nil {
		return err
	}
	f := &follower{name: resource, known: map[string]state{}}
	source := cache.NewFilteredListWatchFromClient(c.rest, c.resource.Resource, o.namespace, func(*metav1.ListOptions) {})
	f.informer = cache.NewSharedIndexInformerWithOptions(f.looked(source), example, cache.SharedIndexInformerOptions{})
	go f.informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), f.informer.HasSynced) {
		return ctx.Err()
	}
	for range rounds {
		// So that the version with which it crosses is a fresh one.
		if err := x.heard(ctx, f, line{Verb: "informer", Path: "before crossing"}); err != nil {
			return err
		}
		from, to := between.change()
		if err := x.heard(ctx, f, line{Verb: "informer", Path: from + " to " + to}); err != nil {
			return err
		}
	}
	return nil
}

// heard changes the object in the cloud and says whether the informer heard of it.
func (x *crossing) heard(ctx context.Context, f *follower, told line) error {
	want, err := x.alter(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	told.Type, told.Key, told.Reason = "crossed", x.name, "deaf"
	for time.Since(began) < patience {
		object, there, _ := f.informer.GetStore().GetByKey(x.namespace + "/" + x.name)
		if there && annotation(object.(runtime.Object)) == want {
			told.Reason = "heard"
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.mutex.Lock()
	told.Lists = f.told.Lists
	f.mutex.Unlock()
	told.Error = time.Since(began).Round(time.Millisecond).String()
	say(told)
	return nil
}

// alter changes the object in the cloud.
func (x *crossing) alter(ctx context.Context) (string, error) {
	x.changes++
	want := fmt.Sprintf("%d-%d", time.Now().UnixNano(), x.changes)
	patch := []byte(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, nonce, want))
	cloud := x.sides[1]
	return want, cloud.rest.Patch(types.MergePatchType).Namespace(x.namespace).Resource(cloud.resource.Resource).
		Name(x.name).Body(patch).Do(ctx).Error()
}

func annotation(object runtime.Object) string {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return accessor.GetAnnotations()[nonce]
}

// show gives to the versions that from has issued.
func (x *crossing) show(ctx context.Context, from, to side) error {
	list, err := x.ask(from.rest.Get(), from).Do(ctx).Get()
	if err != nil {
		return err
	}
	version, err := meta.NewAccessor().ResourceVersion(list)
	if err != nil {
		return err
	}
	way := from.name + " to " + to.name
	// A list says where etcd is; the watch cache of to comes there with the next change of the resource.
	if _, err := x.alter(ctx); err != nil {
		return err
	}
	options := &metav1.ListOptions{ResourceVersion: version}
	_, err = x.ask(to.rest.Get().VersionedParams(options, metav1.ParameterCodec), to).Do(ctx).Get()
	x.answered("list", way, err)
	if err := x.watched(ctx, to, way, version); err != nil {
		return err
	}
	return x.put(ctx, from, to, way)
}

func (x *crossing) ask(request *rest.Request, of side) *rest.Request {
	return request.Namespace(x.namespace).Resource(of.resource.Resource)
}

func (x *crossing) answered(verb, way string, err error) {
	told := line{Status: http.StatusOK}
	if err != nil {
		told = failure("", err)
	}
	told.Type, told.Key, told.Verb, told.Path = "crossed", x.name, verb, way
	say(told)
}

// watched opens a watch at a version of the other side; it may say that this one is none, but not be silent.
func (x *crossing) watched(ctx context.Context, to side, way, version string) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	options := &metav1.ListOptions{ResourceVersion: version, Watch: true}
	stream, err := x.ask(to.rest.Get().VersionedParams(options, metav1.ParameterCodec), to).Watch(ctx)
	if err != nil {
		x.answered("watch", way, err)
		return nil
	}
	defer stream.Stop()
	want, err := x.alter(ctx)
	if err != nil {
		return err
	}
	told := line{Type: "crossed", Key: x.name, Verb: "watch", Path: way, Status: http.StatusOK, Reason: "deaf"}
	for event := range stream.ResultChan() {
		if event.Type == watch.Error {
			if status, fits := event.Object.(*metav1.Status); fits {
				told.Status, told.Reason = int(status.Code), string(status.Reason)
			}
			break
		}
		if annotation(event.Object) == want {
			told.Reason = "heard"
			break
		}
	}
	say(told)
	return nil
}

// put sends to the object as from has shown it, and then as it has shown it itself.
func (x *crossing) put(ctx context.Context, from, to side, way string) error {
	for _, shown := range []side{from, to} {
		object, err := x.ask(shown.rest.Get(), shown).Name(x.name).Do(ctx).Get()
		if err != nil {
			return err
		}
		accessor, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		annotations := accessor.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["e2e.invalid/put"] = shown.name + " " + to.name
		accessor.SetAnnotations(annotations)
		_, err = x.ask(to.rest.Put(), to).Name(x.name).Body(object).Do(ctx).Get()
		told := way
		if shown.name == to.name {
			told = to.name + " itself"
		}
		x.answered("put", told, err)
	}
	return nil
}
