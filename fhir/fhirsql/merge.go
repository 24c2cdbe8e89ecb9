package fhirsql

import (
	"github.com/hygeia-health/hygeia/platform/fault"
)

// mergeAbove is how many alternatives of one kind are walked one by one;
// beyond it they become a list in one range.
const mergeAbove = 8

// maxAlts bounds the ranges of one clause: each is a SELECT of its own.
const maxAlts = 400

// merge puts alternatives that differ in one value into lists: the codes of one
// system, the targets of one reference parameter.
func (p *pred) merge() error {
	if len(p.alts) > mergeAbove {
		p.alts = merged(p.alts)
	}
	if len(p.alts) > maxAlts {
		return fault.At(fault.TooCostly, "too-costly", "", "the parameter %s has too many values", p.name)
	}
	return nil
}

func merged(alts []alt) []alt {
	var out []alt
	at := map[any]int{}
	var done []alt // lists that a clause inside a group was merged to before
	for _, a := range alts {
		if a.list {
			done = append(done, a)
			continue
		}
		key, list := a.listed()
		if key == nil {
			out = append(out, a)
			continue
		}
		if i, ok := at[key]; ok {
			out[i].k.args = append(out[i].k.args, list.k.args[len(list.k.args)-1])
			continue
		}
		at[key] = len(out)
		out = append(out, list)
	}
	for i := range out {
		if a := &out[i]; a.list {
			n := len(a.k.args) - a.fixed
			a.k.text += marks(n) + ")"
		}
	}
	return append(out, done...)
}

// listed returns a range with the one value at the end of its arguments and its
// condition open for more, and what it has in common with others of the list.
func (a alt) listed() (key any, out alt) {
	out = alt{table: a.table, index: a.index, list: true}
	switch {
	case a.table == "tok" && a.unique && len(a.k.args) == 3: // p, c, s
		out.k = cond{text: "k.p=? AND k.s=? AND k.c IN (", args: []any{a.k.args[0], a.k.args[2], a.k.args[1]}}
		out.patient, out.fixed = true, 2
		return [3]any{"tok", a.k.args[0], a.k.args[2]}, out
	case a.table == "ref" && a.nest == nil && len(a.k.args) == 2: // h, p
		out.k = cond{text: "k.p=? AND k.h IN (", args: []any{a.k.args[1], a.k.args[0]}}
		out.fixed = 1
		return [2]any{"ref", a.k.args[1]}, out
	case a.table == "res" && a.nest == nil && len(a.k.args) == 1 && (a.index == "res_pat" || a.index == "res_enc"):
		col := a.index[len("res_"):]
		out.k, out.unique = cond{text: "r." + col + " IN (", args: a.k.args}, true
		return a.index, out
	}
	return nil, a
}
