package dicom

import (
	_ "embed"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

//go:embed workitem.rules
var workitemRulesText string

// need says what an attribute owes to a request.
type need uint8

const (
	needNothing need = iota
	needValueIfThere
	needThere
	needValue
	needEmpty // there, without a value
	needAbsent
)

// attributeRule is one line of workitem.rules.
type attributeRule struct {
	tag            dcm.Tag
	create, update need
	final          byte // R, P, X or 0
	items          []attributeRule
}

// workitemRules are the rules for the attributes of a work item.
var workitemRules = sync.OnceValue(func() []attributeRule { return parseRules(workitemRulesText)["workitem"] })

// parseRules reads the table. It is ours, so an error in it is a bug.
func parseRules(text string) map[string][]attributeRule {
	groups := map[string][]attributeRule{}
	var name string
	// open[d] is the list that lines of depth d+1 go to.
	var open []*[]attributeRule
	list := new([]attributeRule)
	end := func() {
		if name != "" {
			groups[name] = *list
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		words := strings.Fields(line)
		depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		switch {
		case len(words) == 0 || words[0] == "#" || depth == 0 && strings.HasPrefix(line, "#"):
		case words[0] == "group":
			end()
			name, list = words[1], new([]attributeRule)
			open = []*[]attributeRule{list}
		case strings.HasPrefix(words[0], "@"):
			open = open[:depth]
			into := open[depth-1]
			*into = append(*into, groups[words[0][1:]]...)
		default:
			open = open[:depth]
			into := open[depth-1]
			*into = append(*into, parseRule(words))
			open = append(open, &(*into)[len(*into)-1].items)
		}
	}
	end()
	return groups
}

func parseRule(words []string) attributeRule {
	t, ok := dcm.Keyword(words[0])
	if !ok {
		panic("dicom: workitem.rules: " + words[0] + " is no attribute")
	}
	r := attributeRule{tag: t, create: parseNeed(words[1]), update: parseNeed(words[2])}
	if len(words) > 3 {
		r.final = words[3][0]
	}
	return r
}

func parseNeed(s string) need {
	user, server, _ := strings.Cut(s, "/")
	switch {
	case user == "1":
		return needValue
	case user == "2":
		return needThere
	case user == "0":
		return needEmpty
	case user == "x":
		return needAbsent
	case user == "1C", user == "3" && server == "1":
		return needValueIfThere
	case user == "2C", user == "3":
		return needNothing
	}
	panic("dicom: workitem.rules: " + s + " is no requirement")
}

// checkWorkitem checks a data set that creates or updates a work item: what must
// and must not be there, and the form of the values that have a rule.
func checkWorkitem(d *dcm.Dataset, rules []attributeRule, create bool) error {
	for i := range rules {
		r := &rules[i]
		n, e := r.update, d.Get(r.tag)
		if create {
			n = r.create
		}
		empty := e == nil || e.Empty()
		switch {
		case n == needAbsent && e != nil:
			return invalid400("The attribute with tag '%s' cannot be present.", r.tag)
		case n == needEmpty && !empty:
			return invalid400("The attribute with tag '%s' must be empty.", r.tag)
		case e == nil && (n == needValue || n == needThere || n == needEmpty):
			return invalid400("The required tag '%s' is missing.", r.tag)
		case e != nil && empty && (n == needValue || n == needValueIfThere):
			return invalid400("The value for tag '%s' is missing.", r.tag)
		case e == nil:
			continue
		}
		if entry, _ := dcm.Lookup(r.tag); entry.VR != e.VR {
			return invalid400("The attribute with tag '%s' has the VR %s; it is %s.", r.tag, e.VR, entry.VRs)
		}
		if err := d.Check(e); err != nil {
			return invalid400("The attribute with tag '%s' is not valid: %s.", r.tag, strings.TrimSuffix(err.Error(), "."))
		}
		for _, item := range e.Items {
			if err := checkWorkitem(item, r.items, create); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFinal checks what a work item must have when it ends.
func checkFinal(d *dcm.Dataset, rules []attributeRule, end WorkitemState) error {
	for i := range rules {
		r := &rules[i]
		e := d.Get(r.tag)
		must := r.final == 'R' || r.final == 'P' && end == WorkitemCompleted || r.final == 'X' && end == WorkitemCanceled
		if must && (e == nil || e.Empty()) {
			return fault.New(fault.Invalid, "The workitem instance can not transition to '%s' state: C304 (it does not have what that state wants): the required tag '%s' is missing or has no value.", end, r.tag)
		}
		if e == nil {
			continue
		}
		for _, item := range e.Items {
			if err := checkFinal(item, r.items, end); err != nil {
				return err
			}
		}
	}
	return nil
}
