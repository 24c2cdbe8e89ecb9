package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Filter says which events a subscription wants, as Event Grid does: every
// condition must hold, of the values of one any.
type Filter struct {
	IncludedEventTypes     []string `json:"includedEventTypes,omitempty"` // none: all
	SubjectBeginsWith      string   `json:"subjectBeginsWith,omitempty"`
	SubjectEndsWith        string   `json:"subjectEndsWith,omitempty"`
	IsSubjectCaseSensitive bool     `json:"isSubjectCaseSensitive,omitempty"`
	// EnableAdvancedFilteringOnArrays changes nothing: no event here has an array.
	EnableAdvancedFilteringOnArrays bool             `json:"enableAdvancedFilteringOnArrays,omitempty"`
	AdvancedFilters                 []AdvancedFilter `json:"advancedFilters,omitempty"`
}

// AdvancedFilter compares one value of the event.
type AdvancedFilter struct {
	OperatorType string            `json:"operatorType"`
	Key          string            `json:"key"`
	Value        json.RawMessage   `json:"value,omitempty"`
	Values       []json.RawMessage `json:"values,omitempty"`
}

// Limits of Event Grid.
const (
	maxFilters     = 25
	maxValues      = 25
	maxValueLength = 512
)

// matcher is a compiled Filter.
type matcher struct {
	kinds      uint32 // bit set of kinds; 0: all
	begin, end string
	exact      bool
	tests      []test
}

// test is a compiled AdvancedFilter.
type test struct {
	key     string
	absent  bool // the result when the key is missing: true for two operators only
	compare func(v any) bool
}

// compile checks a filter and makes it ready. The error names the member.
func (f *Filter) compile() (*matcher, error) {
	m := &matcher{begin: f.SubjectBeginsWith, end: f.SubjectEndsWith, exact: f.IsSubjectCaseSensitive}
	for i, t := range f.IncludedEventTypes {
		k, ok := KindOf(t)
		if !ok {
			return nil, fault.New(fault.Invalid, "filter.includedEventTypes[%d]: there is no event type %.100q", i, t)
		}
		m.kinds |= 1 << k
	}
	if !m.exact {
		m.begin, m.end = strings.ToLower(m.begin), strings.ToLower(m.end)
	}
	if len(f.AdvancedFilters) > maxFilters {
		return nil, fault.New(fault.Invalid, "filter.advancedFilters: at most %d are allowed", maxFilters)
	}
	values := 0
	for i := range f.AdvancedFilters {
		a := &f.AdvancedFilters[i]
		t, n, err := a.compile()
		if err != nil {
			return nil, fault.New(fault.Invalid, "filter.advancedFilters[%d]: %v", i, err)
		}
		if values += n; values > maxValues {
			return nil, fault.New(fault.Invalid, "filter.advancedFilters: at most %d values are allowed in all", maxValues)
		}
		m.tests = append(m.tests, t)
	}
	return m, nil
}

// match reports whether an event passes.
func (m *matcher) match(n *Names, e *Event) bool {
	if m.kinds != 0 && m.kinds&(1<<e.Kind) == 0 {
		return false
	}
	if m.begin != "" || m.end != "" {
		subject := n.Subject(e)
		if !m.exact {
			subject = strings.ToLower(subject)
		}
		if !strings.HasPrefix(subject, m.begin) || !strings.HasSuffix(subject, m.end) {
			return false
		}
	}
	for i := range m.tests {
		t := &m.tests[i]
		v := n.field(e, t.key)
		if v == nil {
			if !t.absent {
				return false
			}
			continue
		}
		if !t.compare(v) {
			return false
		}
	}
	return true
}

// compile checks one filter; n is how many values it has.
func (a *AdvancedFilter) compile() (t test, n int, err error) {
	t.key = strings.ToLower(a.Key)
	if !knownKey(t.key) {
		return t, 0, fmt.Errorf("key: %.100q is none of id, topic, subject, eventType, dataVersion, source, type and data.*", a.Key)
	}
	op := a.OperatorType
	switch op {
	case "IsNullOrUndefined", "IsNotNull":
		if a.Value != nil || a.Values != nil {
			return t, 0, fmt.Errorf("%s has no value", op)
		}
		t.absent = op == "IsNullOrUndefined"
		t.compare = func(any) bool { return !t.absent }
		return t, 0, nil
	case "BoolEquals":
		var want bool
		if err := one(a, &want); err != nil {
			return t, 0, err
		}
		t.compare = func(v any) bool { b, ok := v.(bool); return ok && b == want }
		return t, 1, nil
	}
	if strings.HasPrefix(op, "Number") {
		return a.number(t)
	}
	return a.text(t)
}

func knownKey(key string) bool {
	switch key {
	case "id", "topic", "source", "subject", "eventtype", "type", "dataversion":
		return true
	}
	return strings.HasPrefix(key, "data.") && len(key) > 5
}

// one decodes the single value of a filter.
func one(a *AdvancedFilter, into any) error {
	if a.Value == nil || a.Values != nil {
		return fmt.Errorf("%s has a value, not values", a.OperatorType)
	}
	if err := json.Unmarshal(a.Value, into); err != nil {
		return fmt.Errorf("value: %.100s does not fit %s", a.Value, a.OperatorType)
	}
	return nil
}

// many decodes the list of values of a filter.
func many[T any](a *AdvancedFilter) ([]T, error) {
	if a.Values == nil || a.Value != nil {
		return nil, fmt.Errorf("%s has values, not a value", a.OperatorType)
	}
	out := make([]T, len(a.Values))
	for i, raw := range a.Values {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, fmt.Errorf("values[%d]: %.100s does not fit %s", i, raw, a.OperatorType)
		}
	}
	return out, nil
}

// number compiles the operators on numbers. What is no number passes the
// negative ones only.
func (a *AdvancedFilter) number(t test) (test, int, error) {
	var want float64
	holds := map[string]func(x float64) bool{
		"NumberLessThan":            func(x float64) bool { return x < want },
		"NumberLessThanOrEquals":    func(x float64) bool { return x <= want },
		"NumberGreaterThan":         func(x float64) bool { return x > want },
		"NumberGreaterThanOrEquals": func(x float64) bool { return x >= want },
	}[a.OperatorType]
	not, n := false, 1
	switch a.OperatorType {
	case "NumberIn", "NumberNotIn":
		list, err := many[float64](a)
		if err != nil {
			return t, 0, err
		}
		n, not = len(list), a.OperatorType == "NumberNotIn"
		holds = func(x float64) bool { return slices.Contains(list, x) }
	case "NumberInRange", "NumberNotInRange":
		ranges, err := many[[]float64](a)
		if err != nil {
			return t, 0, err
		}
		for i, r := range ranges {
			if len(r) != 2 || r[0] > r[1] {
				return t, 0, fmt.Errorf("values[%d]: a range is [from, to]", i)
			}
		}
		n, not = len(ranges), a.OperatorType == "NumberNotInRange"
		holds = func(x float64) bool {
			return slices.ContainsFunc(ranges, func(r []float64) bool { return r[0] <= x && x <= r[1] })
		}
	default:
		if holds == nil {
			return t, 0, fmt.Errorf("operatorType: there is no operator %.40q", a.OperatorType)
		}
		if err := one(a, &want); err != nil {
			return t, 0, err
		}
	}
	t.absent = a.OperatorType == "NumberNotIn"
	t.compare = func(v any) bool {
		x, ok := v.(int64)
		if !ok {
			return not
		}
		return holds(float64(x)) != not
	}
	return t, n, nil
}

// text compiles the operators on strings, all without regard to case.
func (a *AdvancedFilter) text(t test) (test, int, error) {
	op := strings.Replace(a.OperatorType, "Not", "", 1)
	not := op != a.OperatorType
	holds := map[string]func(s, want string) bool{
		"StringContains":   strings.Contains,
		"StringBeginsWith": strings.HasPrefix,
		"StringEndsWith":   strings.HasSuffix,
		"StringIn":         func(s, want string) bool { return s == want },
	}[op]
	if holds == nil {
		return t, 0, fmt.Errorf("operatorType: there is no operator %.40q", a.OperatorType)
	}
	list, err := many[string](a)
	if err != nil {
		return t, 0, err
	}
	for i, s := range list {
		if len(s) > maxValueLength {
			return t, 0, fmt.Errorf("values[%d]: at most %d characters are allowed", i, maxValueLength)
		}
		list[i] = strings.ToLower(s)
	}
	t.absent = a.OperatorType == "StringNotIn"
	t.compare = func(v any) bool {
		s, ok := v.(string)
		if !ok {
			return not
		}
		s = strings.ToLower(s)
		return slices.ContainsFunc(list, func(want string) bool { return holds(s, want) }) != not
	}
	return t, len(list), nil
}
