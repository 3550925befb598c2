package main

import (
	"context"
	"fmt"
	"math/rand"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// subject is a resource that the writer changes, with how many objects of it, and how many writes of a hundred are a
// deletion.
type subject struct {
	resource string
	count    int
	deleted  int
	body     string
}

var subjects = []subject{
	{"v1/configmaps", 12, 10, `"data":{"word":"mellon"}`},
	{"v1/services", 8, 10, `"spec":{"ports":[{"port":80}],"selector":{"app":"none"}}`},
	{"discovery.k8s.io/v1beta1/endpointslices", 12, 10,
		`"addressType":"IPv4","ports":[{"port":80}],"endpoints":[{"addresses":["10.244.9.9"],"conditions":{"ready":true}}]`},
	{"v1/pods", 6, 2, `"spec":{"nodeName":"edge","terminationGracePeriodSeconds":1,
		"tolerations":[{"operator":"Exists"}],
		"containers":[{"name":"main","image":"edgekeep.invalid/busybox:e2e","imagePullPolicy":"Never","args":["busybox","sleep","86400"]}]}`},
}

// writer changes objects until it is stopped; each state of a name is counted in an annotation.
type writer struct {
	random    *rand.Rand
	namespace string
	states    map[string]int64
	there     map[string]bool
	writes    int
}

func write(ctx context.Context, o options) error {
	o.encoding = "json"
	w := &writer{rand.New(rand.NewSource(o.seed)), o.namespace, map[string]int64{}, map[string]bool{}, 0}
	clients := make([]*client, len(subjects))
	for place, s := range subjects {
		client, err := connect(o, s.resource)
		if err != nil {
			return err
		}
		clients[place] = client
		for number := range s.count {
			if err := w.touch(ctx, client, s, number); err != nil {
				return err
			}
		}
	}
	say(line{Type: "written", Objects: w.writes})
	for ctx.Err() == nil {
		place := w.random.Intn(len(subjects))
		s := subjects[place]
		if err := w.touch(ctx, clients[place], s, w.random.Intn(s.count)); err != nil {
			say(failure("error", err))
		}
		time.Sleep(time.Duration(20+w.random.Intn(60)) * time.Millisecond)
		if w.writes%100 == 0 {
			say(line{Type: "written", Objects: w.writes})
		}
	}
	return nil
}

// touch makes an object that is not there, and changes or deletes one that is.
func (w *writer) touch(ctx context.Context, c *client, s subject, number int) error {
	name := fmt.Sprintf("written-%d", number)
	key := c.resource.Resource + "/" + name
	w.writes++
	if w.there[key] && w.random.Intn(100) < s.deleted {
		w.there[key] = false
		atOnce := []byte(`{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`)
		return c.rest.Delete().Namespace(w.namespace).Resource(c.resource.Resource).Name(name).Body(atOnce).Do(ctx).Error()
	}
	w.states[key]++
	about := fmt.Sprintf(`"metadata":{"name":%q,"annotations":{%q:"%d"}}`, name, sequence, w.states[key])
	if w.there[key] {
		return c.rest.Patch(types.MergePatchType).Namespace(w.namespace).Resource(c.resource.Resource).Name(name).
			Body([]byte("{" + about + "}")).Do(ctx).Error()
	}
	w.there[key] = true
	version := c.kind.GroupVersion().String()
	body := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,%s,%s}`, version, c.kind.Kind, about, s.body)
	return c.rest.Post().Namespace(w.namespace).Resource(c.resource.Resource).Body([]byte(body)).Do(ctx).Error()
}
