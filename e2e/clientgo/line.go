package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// line is one thing said: an event of the informer, a request that was sent, an answer, or an error.
type line struct {
	// Type is added, modified, deleted, synced, request, object or error; state, fault, skipped, written or crossed of
	// the verbs that look at many events.
	Type string `json:"type"`
	// Key, UID, RV and Hash say which object an event is about; Hash leaves the resourceVersion out.
	Key  string `json:"key,omitempty"`
	UID  string `json:"uid,omitempty"`
	RV   string `json:"rv,omitempty"`
	Hash string `json:"hash,omitempty"`
	// Initial is true of what was there when the informer began.
	Initial bool `json:"initial,omitempty"`
	// Verb, Path and Status are those of a request over HTTP.
	Verb   string `json:"verb,omitempty"`
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	// Reason is the API server's word for an error.
	Reason string `json:"reason,omitempty"`
	// How a follower's informer stands: objects in its store, events that came, how often everything came anew, events
	// that cannot follow from those before, states of the writer that were passed over.
	Objects int   `json:"objects,omitempty"`
	Events  int   `json:"events,omitempty"`
	Lists   int   `json:"lists,omitempty"`
	Faults  int   `json:"faults,omitempty"`
	Skipped int64 `json:"skipped,omitempty"`
	// Object is what a single request was answered with.
	Object runtime.Object `json:"object,omitempty"`
}

var mouth sync.Mutex

func say(told line) {
	mouth.Lock()
	defer mouth.Unlock()
	// A reader that went away is no reason to stop: the informer's work is seen by the server too.
	_ = json.NewEncoder(os.Stdout).Encode(told)
}

func failure(kind string, err error) line {
	told := line{Type: kind, Error: err.Error()}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		told.Status, told.Reason = int(status.Status().Code), string(status.Status().Reason)
	}
	return told
}

// about describes an object in an event.
func about(kind string, object runtime.Object) line {
	told := line{Type: kind}
	copied := object.DeepCopyObject()
	accessor, err := meta.Accessor(copied)
	if err != nil {
		told.Error = err.Error()
		return told
	}
	told.Key, told.UID, told.RV = accessor.GetName(), string(accessor.GetUID()), accessor.GetResourceVersion()
	if namespace := accessor.GetNamespace(); namespace != "" {
		told.Key = namespace + "/" + told.Key
	}
	accessor.SetResourceVersion("")
	content, err := json.Marshal(copied)
	if err != nil {
		told.Error = err.Error()
		return told
	}
	sum := sha256.Sum256(content)
	told.Hash = hex.EncodeToString(sum[:8])
	return told
}
