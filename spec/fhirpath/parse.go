package fhirpath

import (
	"fmt"
	"strings"
)

// The limits of an expression. They are far above any real one (the longest
// search parameter of R4 has 2,300 characters and 120 parts).
const (
	maxLength  = 64 << 10 // bytes
	maxNesting = 200      // parentheses, arguments, indexers, signs
	maxParts   = 10000    // nodes of the tree; also bounds its depth
	maxDigits  = 100      // of one number
)

type parser struct {
	lex   lexer
	tok   token
	depth int
	parts int
}

// parse reads a whole expression.
func parse(src string) (ast, error) {
	p := &parser{lex: lexer{src: src}}
	if len(src) > maxLength {
		return nil, p.lex.fail(maxLength, "the expression is longer than %d bytes", maxLength)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokEOF {
		return nil, p.fail("unexpected %s", p.tok)
	}
	return x, nil
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) fail(format string, args ...any) error {
	return p.lex.fail(p.tok.pos, "%s", fmt.Sprintf(format, args...))
}

func (p *parser) isOp(text string) bool { return p.tok.kind == tokOp && p.tok.text == text }

func (p *parser) expect(op string) error {
	if !p.isOp(op) {
		return p.fail("expected %q, found %s", op, p.tok)
	}
	return p.advance()
}

// part counts one node of the tree.
func (p *parser) part() error {
	if p.parts++; p.parts > maxParts {
		return p.fail("the expression has more than %d parts", maxParts)
	}
	return nil
}

// enter counts one level of nesting; leave undoes it.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return p.fail("the expression is nested more than %d levels deep", maxNesting)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// precedence gives the binding strength of an infix operator (N1 section 6.8,
// from the weakest); 0 means that the token is none.
func (p *parser) precedence() int {
	if p.tok.kind != tokOp && p.tok.kind != tokWord {
		return 0
	}
	switch p.tok.text {
	case "implies":
		return 1
	case "or", "xor":
		return 2
	case "and":
		return 3
	case "in", "contains":
		return 4
	case "=", "~", "!=", "!~":
		return 5
	case "<=", "<", ">", ">=":
		return 6
	case "|":
		return 7
	case "is", "as":
		return 8
	case "+", "-", "&":
		return 9
	case "*", "/", "div", "mod":
		return 10
	}
	return 0
}

// expression reads operators that bind stronger than weakest; all of them
// associate to the left.
func (p *parser) expression(weakest int) (ast, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	x, err := p.signed()
	if err != nil {
		return nil, err
	}
	for {
		prec := p.precedence()
		if prec <= weakest {
			return x, nil
		}
		op := p.tok
		if err := p.part(); err != nil {
			return nil, err
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if op.text == "is" || op.text == "as" {
			typ, err := p.typeSpecifier()
			if err != nil {
				return nil, err
			}
			x = &typeOp{op.pos, op.text, x, typ}
			continue
		}
		r, err := p.expression(prec)
		if err != nil {
			return nil, err
		}
		x = &binary{op.pos, op.text, x, r}
	}
}

// signed reads a term with its signs. A sign binds stronger than any infix
// operator but weaker than a path: -1.abs() is -(1.abs()).
func (p *parser) signed() (ast, error) {
	if !p.isOp("+") && !p.isOp("-") {
		return p.path()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	op := p.tok
	if err := p.part(); err != nil {
		return nil, err
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.signed()
	if err != nil {
		return nil, err
	}
	return &unary{op.pos, op.text, x}, nil
}

// path reads a term followed by .invocation and [indexer].
func (p *parser) path() (ast, error) {
	x, err := p.term()
	for err == nil {
		switch {
		case p.isOp("."):
			if err = p.advance(); err == nil {
				x, err = p.invocation(x)
			}
		case p.isOp("["):
			pos := p.tok.pos
			if err = p.advance(); err != nil {
				break
			}
			var at ast
			if at, err = p.expression(0); err == nil {
				x = &index{pos, x, at}
				err = p.expect("]")
			}
		default:
			return x, p.part()
		}
		if err == nil {
			err = p.part()
		}
	}
	return nil, err
}

func (p *parser) term() (ast, error) {
	t := p.tok
	switch t.kind {
	case tokWord:
		switch t.text {
		case "true", "false":
			return &literal{t.pos, Bool(t.text == "true")}, p.advance()
		case "and", "or", "xor", "implies", "div", "mod":
			return nil, p.fail("expected an operand, found the operator %q", t.text)
		}
		return p.invocation(nil)
	case tokQuoted, tokVar:
		return p.invocation(nil)
	case tokExternal:
		return &external{t.pos, t.text}, p.advance()
	case tokString:
		return &literal{t.pos, String(t.text)}, p.advance()
	case tokNumber:
		return p.number()
	case tokDate, tokDateTime, tokTime:
		v, err := parseTemporal(t.kind, t.text)
		if err != nil {
			return nil, p.fail("%v", err)
		}
		return &literal{t.pos, v}, p.advance()
	}
	switch {
	case p.isOp("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		return x, p.expect(")")
	case p.isOp("{"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		return &literal{pos: t.pos}, p.expect("}")
	}
	return nil, p.fail("expected an operand, found %s", t)
}

// number reads an integer, decimal or quantity. The unit of a quantity is a
// string or a calendar word: 4 'mg', 2 days (N1 section 4.1.8).
func (p *parser) number() (ast, error) {
	t := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	u := p.tok
	isUnit := u.kind == tokString
	if u.kind == tokWord {
		_, isUnit = calendarUnit(u.text)
	}
	if isUnit {
		return &literal{t.pos, quantityOf(mustDecimal(t.text), u.text, u.kind == tokWord)}, p.advance()
	}
	if strings.IndexByte(t.text, '.') < 0 {
		if v, ok := parseInteger(t.text); ok {
			return &literal{t.pos, v}, nil
		}
	}
	return &literal{t.pos, decimalValue(mustDecimal(t.text))}, nil
}

// invocation reads a member, a function call or a $variable.
func (p *parser) invocation(recv ast) (ast, error) {
	t := p.tok
	switch t.kind {
	case tokVar:
		if recv != nil {
			return nil, p.fail("$%s cannot follow a dot", t.text)
		}
		return &variable{t.pos, t.text}, p.advance()
	case tokWord, tokQuoted:
	default:
		return nil, p.fail("expected a name, found %s", t)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if !p.isOp("(") {
		return &member{t.pos, recv, t.text}, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	c := &call{pos: t.pos, recv: recv, name: t.text}
	if p.isOp(")") {
		return c, p.advance()
	}
	for {
		arg, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, arg)
		if !p.isOp(",") {
			return c, p.expect(")")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

// typeSpecifier reads Name or Namespace.Name.
func (p *parser) typeSpecifier() (typeName, error) {
	name, err := p.identifier()
	if err != nil || !p.isOp(".") || name != "System" && name != "FHIR" {
		return typeName{name: name}, err
	}
	if err := p.advance(); err != nil {
		return typeName{}, err
	}
	second, err := p.identifier()
	return typeName{name, second}, err
}

func (p *parser) identifier() (string, error) {
	if p.tok.kind != tokWord && p.tok.kind != tokQuoted {
		return "", p.fail("expected a type name, found %s", p.tok)
	}
	name := p.tok.text
	return name, p.advance()
}
