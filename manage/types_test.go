package manage

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestSettings holds every field of a Spec to what others read of it by its tags:
// the API, the configuration and its page.
func TestSettings(t *testing.T) {
	all := []Kind{KindFHIR, KindDICOM, KindMedTech}
	count := map[string]int{}
	for _, k := range all {
		for _, name := range Settings(k) {
			count[name]++
		}
	}
	for _, f := range settings(reflect.ValueOf(Spec{}), "") {
		for k := range strings.SplitSeq(f.kinds, ",") {
			if k != "" && !slices.Contains(all, Kind(k)) {
				t.Errorf("%s: %q is no kind", f.name, k)
			}
		}
		if want := max(len(strings.Split(f.kinds, ",")), 1); f.kinds != "" && count[f.name] != want || f.kinds == "" && count[f.name] != len(all) {
			t.Errorf("%s of kinds %q: %d kinds have it", f.name, f.kinds, count[f.name])
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Spec]()) {
		if f.Anonymous {
			continue
		}
		for _, tag := range []string{"json", "yaml", "doc"} {
			if f.Tag.Get(tag) == "" {
				t.Errorf("%s has no tag %s", f.Name, tag)
			}
		}
		if !strings.HasSuffix(f.Tag.Get("json"), ",omitempty") {
			t.Errorf("%s: what was not said is left out", f.Name)
		}
	}
}

// TestEqual changes one field after the other.
func TestEqual(t *testing.T) {
	for _, f := range settings(reflect.ValueOf(Spec{}), "") {
		var a, b Spec
		for _, g := range settings(reflect.ValueOf(&b).Elem(), "") {
			if g.name == f.name {
				fill(g.value)
			}
		}
		if a.Equal(b) || !b.Equal(b) {
			t.Errorf("%s does not count", f.name)
		}
	}
	empty := Spec{Tags: map[string]string{}, MedTechSpec: MedTechSpec{Sources: []MedTechSource{}}}
	if !empty.Equal(Spec{}) {
		t.Error("an empty list is not as none")
	}
}

// fill gives v a value that is not its zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b"}))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		panic(v.Type().String())
	}
}

// TestOtherKinds refuses each setting for the kinds that have it not.
func TestOtherKinds(t *testing.T) {
	for _, k := range []Kind{KindFHIR, KindDICOM, KindMedTech} {
		for _, f := range settings(reflect.ValueOf(Spec{}), "") {
			s := Spec{Kind: k}
			for _, g := range settings(reflect.ValueOf(&s).Elem(), "") {
				if g.name == f.name {
					fill(g.value)
				}
			}
			err := s.Check("some")
			refused := err != nil && strings.HasPrefix(err.Error(), f.name+" is only for services of kind ")
			if refused == f.of(k) {
				t.Errorf("%s for kind %s: %v", f.name, k, err)
			}
		}
	}
}
