package search

// derive makes the parameters behind :of-type and :identifier, and numbers those
// that are extracted. Parameters that have parts get derived ones with parts.
func (b *builder) derive() {
	bit := 0
	for _, p := range b.schema.params {
		p.Bit = -1
		if p.Unsupported == "" && len(p.Parts) == 0 {
			p.Bit = bit
			bit++
		}
	}
	for _, p := range b.schema.params {
		if p.Unsupported == "" {
			b.ofType(p)
			b.identifier(p)
		}
	}
}

// ofType returns the parameter for :of-type if p is about identifiers.
func (b *builder) ofType(p *Param) *Param {
	if p.OfType != nil || p.Kind != Token {
		return p.OfType
	}
	d := derived(p, "of-type")
	for _, part := range p.Parts {
		if q := b.ofType(part); q != nil {
			d.Parts = append(d.Parts, q)
		}
	}
	has := len(d.Parts) > 0
	for _, br := range b.defs[p].branches {
		for _, e := range br.ends {
			has = has || len(p.Parts) == 0 && e.typ.Name == "Identifier"
		}
	}
	if has {
		p.OfType = d
	}
	return p.OfType
}

// identifier returns the parameter for :identifier of a reference.
func (b *builder) identifier(p *Param) *Param {
	if p.Identifier != nil || p.Kind != Reference {
		return p.Identifier
	}
	d := derived(p, "identifier")
	for _, part := range p.Parts {
		d.Parts = append(d.Parts, b.identifier(part))
	}
	p.Identifier = d
	return d
}

func derived(p *Param, modifier string) *Param {
	return &Param{Type: p.Type, Code: p.Code + ":" + modifier, URL: p.URL, Kind: Token, Of: p, Bit: -1}
}
