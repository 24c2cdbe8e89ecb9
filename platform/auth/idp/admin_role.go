package idp

import (
	"regexp"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// roleView is a role as the API shows it.
type roleView struct {
	Name    string     `json:"name"`
	BuiltIn bool       `json:"builtIn"`
	Actions []string   `json:"actions"`
	Created *time.Time `json:"created,omitempty"`
}

func viewRole(r *Role) roleView {
	return roleView{Name: r.Name, Actions: r.Actions, Created: &r.Created}
}

func builtinView(name string) (roleView, bool) {
	a, ok := auth.BuiltinRole(name)
	return roleView{Name: name, BuiltIn: true, Actions: a.Names()}, ok
}

func (p *Provider) listRoles(q *adminRequest) error {
	out := struct {
		Value []roleView `json:"value"`
	}{}
	for _, name := range auth.BuiltinRoles() {
		v, _ := builtinView(name)
		out.Value = append(out.Value, v)
	}
	p.mu.RLock()
	for _, r := range sorted(p.roles, func(*Role) bool { return true }) {
		out.Value = append(out.Value, viewRole(r))
	}
	p.mu.RUnlock()
	return q.answer(false, out)
}

func (p *Provider) showRole(q *adminRequest) error {
	if v, ok := builtinView(q.Name); ok {
		return q.answer(false, v)
	}
	p.mu.RLock()
	r := p.roles[q.Name]
	p.mu.RUnlock()
	if r == nil {
		return q.missing("role")
	}
	return q.answer(false, viewRole(r))
}

var roleForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}$`)

func (p *Provider) putRole(q *adminRequest) error {
	var b struct {
		Actions []string `json:"actions"`
	}
	if err := q.decode(&b); err != nil {
		return err
	}
	if _, ok := auth.BuiltinRole(q.Name); ok {
		return fault.New(fault.Conflict, "the role %s is built in and cannot be changed", q.Name)
	}
	if !roleForm.MatchString(q.Name) {
		return fault.New(fault.Invalid, "%.64q cannot name a role: 1 to 128 letters, digits, blanks and . _ -", q.Name)
	}
	if len(b.Actions) == 0 {
		return fault.New(fault.Invalid, "a role needs actions")
	}
	if _, err := auth.ParseActions(b.Actions); err != nil {
		return fault.New(fault.Invalid, "%v", err)
	}
	return p.changing(q.ctx, func() error {
		r := &Role{Name: q.Name, Actions: unique(b.Actions), Created: p.d.Now().UTC()}
		old, exists := p.roles[q.Name]
		if exists {
			r.Created = old.Created
		}
		if err := p.save(q.ctx, edit{kindRole, r.Name, r}); err != nil {
			return err
		}
		p.mu.Lock()
		p.roles[r.Name] = r
		p.generation.Add(1)
		p.mu.Unlock()
		return q.answer(!exists, viewRole(r))
	})
}

func (p *Provider) deleteRole(q *adminRequest) error {
	return p.changing(q.ctx, func() error {
		if _, ok := auth.BuiltinRole(q.Name); ok {
			return fault.New(fault.Conflict, "the role %s is built in and cannot be deleted", q.Name)
		}
		if p.roles[q.Name] == nil {
			return q.missing("role")
		}
		for _, a := range p.assigned {
			if a.Role == q.Name {
				return fault.New(fault.Conflict, "the role %s is assigned; delete the assignments first", q.Name)
			}
		}
		return p.remove(q, kindRole, q.Name)
	})
}

func viewAssignment(a *Assignment) Assignment { return *a }

func (p *Provider) listAssignments(q *adminRequest) error {
	p.mu.RLock()
	list := sorted(p.assigned, func(a *Assignment) bool { return q.within(a.Workspace) })
	p.mu.RUnlock()
	return listOf(q, list, viewAssignment)
}

// assignmentHere finds the assignment of a request.
func (p *Provider) assignmentHere(q *adminRequest) (*Assignment, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	a := p.assigned[(&Assignment{Workspace: q.Workspace, Name: q.Name}).id()]
	if a == nil {
		return nil, q.missing("role assignment")
	}
	return a, nil
}

func (p *Provider) showAssignment(q *adminRequest) error {
	a, err := p.assignmentHere(q)
	if err != nil {
		return err
	}
	return q.answer(false, viewAssignment(a))
}

func (p *Provider) putAssignment(q *adminRequest) error {
	var b struct {
		Principal string `json:"principal"`
		Issuer    string `json:"issuer"`
		Role      string `json:"role"`
		Scope     string `json:"scope"`
	}
	if err := q.decode(&b); err != nil {
		return err
	}
	if b.Scope == "" {
		b.Scope = "/" + q.Workspace
	}
	a := &Assignment{
		Name: q.Name, Workspace: q.Workspace, Principal: b.Principal, Issuer: b.Issuer, Role: b.Role, Scope: b.Scope, Created: p.d.Now().UTC(),
	}
	if err := a.check(); err != nil {
		return err
	}
	return p.changing(q.ctx, func() error {
		if !p.roleKnown(a.Role) {
			return fault.New(fault.Invalid, "there is no role %.64q; GET %s/roles lists them", a.Role, adminBase)
		}
		_, isClient := p.client(a.Principal)
		_, isUser := p.user(a.Principal)
		if a.Issuer == "" && !isClient && !isUser {
			return fault.New(fault.Invalid, "there is no client or user %.64q; with an issuer of its own, name the issuer", a.Principal)
		}
		old, err := p.assignmentHere(q)
		if err == nil {
			a.Created = old.Created
		}
		if err := p.save(q.ctx, edit{kindAssignment, a.id(), a}); err != nil {
			return err
		}
		p.mu.Lock()
		p.assigned[a.id()] = a
		p.index()
		p.mu.Unlock()
		return q.answer(err != nil, viewAssignment(a))
	})
}

func (p *Provider) deleteAssignment(q *adminRequest) error {
	return p.changing(q.ctx, func() error {
		a, err := p.assignmentHere(q)
		if err != nil {
			return err
		}
		return p.remove(q, kindAssignment, a.id())
	})
}
