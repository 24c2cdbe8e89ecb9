package search

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// include reads _include and _revinclude: Type:code[:Target], Type:* and *.
func (p *parser) include(name string, values []string) error {
	base, modifier, _ := strings.Cut(name, ":")
	inc := Include{Reverse: base == "_revinclude"}
	switch modifier {
	case "":
	case "iterate", "recurse":
		inc.Iterate = true
	default:
		return invalid(name, "there is no modifier :%s", modifier)
	}
	for _, v := range values {
		if v == "" {
			if err := p.leaveOut(badValue(name, "it has no value")); err != nil {
				return err
			}
			continue
		}
		for one := range strings.SplitSeq(v, ",") {
			inc := inc
			if err := p.includeValue(name, one, &inc); err != nil {
				return err
			}
			if e := p.pointless(name, one, &inc); e != nil {
				if err := p.leaveOut(e); err != nil {
					return err
				}
				continue
			}
			p.q.Includes = append(p.q.Includes, inc)
			p.used(name, one)
		}
	}
	return nil
}

func (p *parser) includeValue(name, v string, inc *Include) error {
	if v == "*" || v == "*:*" {
		inc.Source, inc.Code = "*", "*"
		return nil
	}
	pieces := strings.Split(v, ":")
	if len(pieces) < 2 || len(pieces) > 3 {
		return badValue(name, "%q does not have the form Type:parameter[:Target]", v)
	}
	inc.Source, inc.Code = pieces[0], pieces[1]
	if !r4.IsResource(inc.Source) {
		return badValue(name, "%q is not a resource type of FHIR R4", inc.Source)
	}
	if len(pieces) == 3 {
		inc.Target = pieces[2]
		if !r4.IsResource(inc.Target) {
			return badValue(name, "%q is not a resource type of FHIR R4", inc.Target)
		}
	}
	if inc.Code == "*" {
		for _, param := range p.reg.Params(inc.Source) {
			if param.Kind == Reference && param.Unsupported == "" {
				inc.Params = append(inc.Params, param)
			}
		}
		return nil
	}
	param := p.reg.usable(inc.Source, inc.Code)
	if param == nil || param.Kind != Reference || param.Unsupported != "" {
		return badValue(name, "%s has no reference parameter %q", inc.Source, inc.Code)
	}
	inc.Params = []*Param{param}
	targets := (&Clause{Params: inc.Params}).targets()
	if inc.Target != "" && targets != nil && !slices.Contains(targets, inc.Target) {
		return badValue(name, "%s of %s does not point to %s", inc.Code, inc.Source, inc.Target)
	}
	if inc.Reverse && inc.Iterate && inc.Target == "" && len(targets) != 1 && p.opt.AHDS {
		return badValue(name, "%s of %s points to several types; name the one to go on from, as in %s:Type", inc.Code, inc.Source, v)
	}
	return nil
}

// pointless says why an include can never add anything; nil when it may.
func (p *parser) pointless(name, v string, inc *Include) *Error {
	if inc.Iterate || len(p.types) == 0 || inc.Source == "*" {
		return nil
	}
	if !inc.Reverse {
		if !slices.Contains(p.types, inc.Source) {
			return notSupported(name, "%s has no effect: the search is not for %s", v, inc.Source)
		}
		return nil
	}
	targets := []string{inc.Target}
	if inc.Target == "" {
		if targets = (&Clause{Params: inc.Params}).targets(); targets == nil || inc.Code == "*" {
			return nil
		}
	}
	if !slices.ContainsFunc(targets, func(t string) bool { return slices.Contains(p.types, t) }) {
		return notSupported(name, "%s has no effect: it does not point to what the search is for", v)
	}
	return nil
}
