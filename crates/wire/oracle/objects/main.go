// Program objects writes random objects of every built-in kind in both encodings, made by the API's own Go code, for
// the test that also reads the API's published samples:
//
//	cd crates/wire/oracle && mkdir -p /tmp/objects/testdata-1.36 && go run ./objects /tmp/objects/testdata-1.36 1
//	EDGEKEEP_K8S_DATA=/tmp/objects cargo test -p wire --test samples
//
// The arguments are the directory and the seed. An object goes through protobuf and JSON once before it is written,
// because Go tells nil from empty and neither encoding does in every place.
package main

import (
	"bytes"
	"fmt"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	maxDepth = 9
	maxSize  = 200_000
)

// How full the objects of a kind are: the first is empty.
var fullness = []float64{-1, 0, 0.2, 0.4, 0.6, 0.7, 0.5, 0.3, 0.8, 0.5, 0.6, 0.65}

var (
	texts      = []string{"a", "", "x<y>&z", "ünï\u2028", "line\nbreak\t\"q\"\\", "😀", "12", "\x01\x7f"}
	quantities = []string{"0", "1", "100m", "1Gi", "-5", "1e3", "12345678901234567890"}
	floats     = []float64{0, 1, 1.5, 1e21, 1e-7, -3, 123456789.125}
	documents  = []string{`{"a":1}`, `[1,2,{"b":null}]`, `"s"`, `{"kind":"A","x":" sp "}`}
)

// filler fills values at random.
type filler struct {
	*rand.Rand
	fullness float64
}

func (f filler) text() string { return texts[f.Intn(len(texts))] }

func (f filler) fill(v reflect.Value, depth int) {
	if depth > 0 && f.Float64() > f.fullness {
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *metav1.Time:
		*x = metav1.Time{Time: time.Unix(f.Int63n(4e9)-1e9, 0).UTC()}
	case *metav1.MicroTime:
		*x = metav1.NewMicroTime(time.Unix(f.Int63n(4e9), f.Int63n(1e6)*1000).UTC())
	case *resource.Quantity:
		*x = resource.MustParse(quantities[f.Intn(len(quantities))])
	case *intstr.IntOrString:
		*x = intstr.FromString(f.text())
		if f.Intn(2) == 0 {
			*x = intstr.FromInt32(f.Int31n(100) - 50)
		}
	case *runtime.RawExtension:
		x.Raw = []byte(documents[f.Intn(len(documents))])
	case *metav1.FieldsV1:
		x.Raw = []byte(`{"f:a":{"b":{}}}`)
	case *metav1.TypeMeta:
	default:
		f.fillKind(v, depth)
	}
}

func (f filler) fillKind(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if depth <= maxDepth {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), depth+1)
		}
	case reflect.Struct:
		for i := 0; depth <= maxDepth && i < v.NumField(); i++ {
			if v.Field(i).CanSet() {
				f.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		n := f.Intn(3) + 1
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			if element := v.Index(i); element.Kind() == reflect.Uint8 {
				element.SetUint(uint64(f.Intn(256)))
			} else {
				f.fill(element, depth+1)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range f.Intn(3) + 1 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.SetString(f.text() + strconv.Itoa(i))
			f.fill(value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.Intn(2) == 0)
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.Uint64()) >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(floats[f.Intn(len(floats))])
	}
}

var (
	jsonCodec  = json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{})
	protoCodec = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
)

func encode(o runtime.Object, kind schema.GroupVersionKind, codec runtime.Encoder) ([]byte, error) {
	// As the server has it: the items of an empty list are never null.
	if items := reflect.ValueOf(o).Elem().FieldByName("Items"); items.Kind() == reflect.Slice && items.IsNil() {
		items.Set(reflect.MakeSlice(items.Type(), 0, 0))
	}
	o.GetObjectKind().SetGroupVersionKind(kind)
	var out bytes.Buffer
	err := codec.Encode(o, &out)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// again encodes an object, reads it back and encodes that in the other encoding.
func again(bytes []byte, kind schema.GroupVersionKind, from runtime.Decoder, to runtime.Encoder) ([]byte, error) {
	o, err := scheme.Scheme.New(kind)
	if err != nil {
		return nil, err
	}
	if _, _, err := from.Decode(bytes, nil, o); err != nil {
		return nil, err
	}
	return encode(o, kind, to)
}

// pair makes an object in JSON and the protobuf that Go makes of just that JSON. It is nil where the two do not say the
// same even to Go: a pointer to a zero time, for one, is null in JSON.
func pair(f filler, kind schema.GroupVersionKind) (asJSON, asProto []byte, err error) {
	o, err := scheme.Scheme.New(kind)
	if err != nil {
		return nil, nil, err
	}
	if f.fullness >= 0 {
		f.fill(reflect.ValueOf(o).Elem(), 0)
	}
	first, err := encode(o, kind, protoCodec)
	if err != nil {
		return nil, nil, err
	}
	if asJSON, err = again(first, kind, protoCodec, jsonCodec); err != nil {
		return nil, nil, err
	}
	if asProto, err = again(asJSON, kind, jsonCodec, protoCodec); err != nil {
		return nil, nil, err
	}
	last, err := again(asProto, kind, protoCodec, jsonCodec)
	if err != nil || !bytes.Equal(last, asJSON) || len(asJSON) > maxSize {
		return nil, nil, err
	}
	return asJSON, asProto, nil
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: objects DIRECTORY SEED")
	}
	seed, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	random := rand.New(rand.NewSource(seed))
	written := 0
	for kind := range scheme.Scheme.AllKnownTypes() {
		if kind.Version == runtime.APIVersionInternal || kind.Kind == "WatchEvent" {
			continue
		}
		for nth, fullness := range fullness {
			asJSON, asProto, err := pair(filler{random, fullness}, kind)
			if err != nil {
				log.Fatalf("%v: %v", kind, err)
			}
			if asJSON == nil {
				continue
			}
			name := filepath.Join(os.Args[1], fmt.Sprintf("%s.%s.%s.%d", kind.Group, kind.Version, kind.Kind, nth))
			for ending, content := range map[string][]byte{".json": asJSON, ".pb": asProto} {
				if err := os.WriteFile(name+ending, content, 0o644); err != nil {
					log.Fatal(err)
				}
			}
			written++
		}
	}
	fmt.Println(written, "objects of seed", seed)
}
