package medtechsql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

const letterColumns = "off, at, failed, src, stage, class, msg, typ, line, col, devmap, fhirmap, state, edited, dev"

func insertLetter(c *db.Conn, l *medtech.DeadLetter) error {
	return c.Exec("INSERT INTO letter ("+letterColumns+", body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
		l.Offset, l.Arrived.UnixMilli(), l.Failed.UnixMilli(), l.Source, string(l.Stage), string(l.Class), l.Message, l.Type,
		l.Line, l.Column, l.DeviceMapping, l.FHIRMapping, string(l.State), flag(l.Edited), l.Device, l.Body)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// scanLetter reads the columns id, letterColumns.
func scanLetter(r *db.Stmt) medtech.DeadLetter {
	return medtech.DeadLetter{
		ID: r.ColInt(0), Offset: r.ColInt(1), Arrived: fromMilli(r.ColInt(2)), Failed: fromMilli(r.ColInt(3)), Source: r.ColText(4),
		Stage: medtech.Stage(r.ColText(5)), Class: mapping.Class(r.ColText(6)), Message: r.ColText(7), Type: r.ColText(8),
		Line: int(r.ColInt(9)), Column: int(r.ColInt(10)), DeviceMapping: r.ColInt(11), FHIRMapping: r.ColInt(12),
		State: medtech.LetterState(r.ColText(13)), Edited: r.ColInt(14) != 0, Device: r.ColText(15),
	}
}

// where returns the condition of a query and its arguments.
func where(q medtech.DeadLetterQuery) (string, []any) {
	cond, args := "1 = 1", []any{}
	add := func(text string, v any) {
		args = append(args, v)
		cond += fmt.Sprintf(" AND "+text, len(args))
	}
	if q.State != "" {
		add("state = $%d", string(q.State))
	}
	if q.Class != "" {
		add("class = $%d", q.Class)
	}
	if q.Before > 0 {
		add("id < $%d", q.Before)
	}
	if q.IDs != nil {
		marks := make([]string, len(q.IDs))
		for i, id := range q.IDs {
			args = append(args, id)
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		if len(marks) == 0 {
			marks = []string{"-1"}
		}
		cond += " AND id IN (" + strings.Join(marks, ", ") + ")"
	}
	return cond, args
}

// DeadLetters implements medtech.Store.
func (s *Store) DeadLetters(ctx context.Context, q medtech.DeadLetterQuery) (medtech.DeadLetterPage, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	page := medtech.DeadLetterPage{Letters: []medtech.DeadLetter{}}
	cond, args := where(q)
	err := s.db.Read(ctx, func(c *db.Conn) error {
		text := fmt.Sprintf("SELECT id, %s FROM letter WHERE %s ORDER BY id DESC LIMIT $%d+0", letterColumns, cond, len(args)+1)
		return c.Query(text, func(r *db.Stmt) error {
			page.Letters = append(page.Letters, scanLetter(r))
			return nil
		}, append(args, q.Limit+1)...)
	})
	if n := len(page.Letters); n > q.Limit {
		page.Letters = page.Letters[:q.Limit]
		page.Next = page.Letters[q.Limit-1].ID
	}
	return page, err
}

// DeadLetter implements medtech.Store.
func (s *Store) DeadLetter(ctx context.Context, id int64) (medtech.DeadLetter, error) {
	var l medtech.DeadLetter
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT id, "+letterColumns+", body FROM letter WHERE id = $1", func(r *db.Stmt) error {
			l = scanLetter(r)
			l.Body = r.ColBlob(16, []byte{})
			return nil
		}, id)
	})
	if err == nil && l.ID == 0 {
		err = fault.New(fault.NotFound, "there is no dead letter %d", id)
	}
	return l, err
}

// EditDeadLetter implements medtech.Store.
func (s *Store) EditDeadLetter(ctx context.Context, id int64, body []byte) error {
	return s.write(ctx, 1, func(c *db.Conn) error {
		state := ""
		if err := c.Query("SELECT state FROM letter WHERE id = $1", func(r *db.Stmt) error { state = r.ColText(0); return nil }, id); err != nil {
			return err
		}
		switch medtech.LetterState(state) {
		case "":
			return fault.New(fault.NotFound, "there is no dead letter %d", id)
		case medtech.LetterOpen:
			return c.Exec("UPDATE letter SET body = $1, edited = 1 WHERE id = $2", body, id)
		}
		return fault.New(fault.Conflict, "dead letter %d is %s; only an open one can be edited", id, state)
	})
}

// redrivePage is how many dead letters one transaction handles.
const redrivePage = 1000

// Redrive implements medtech.Store. The letters of one message are redriven once.
func (s *Store) Redrive(ctx context.Context, q medtech.DeadLetterQuery, at time.Time) (int, error) {
	return s.settle(ctx, q, medtech.LetterRedriven, func(c *db.Conn, list []medtech.DeadLetter) error {
		sent := map[string]bool{}
		var again []medtech.Raw
		for _, l := range list {
			key := fmt.Sprint(l.Offset, "/", string(l.Body))
			if sent[key] {
				continue
			}
			sent[key] = true
			again = append(again, medtech.Raw{Arrived: at.Truncate(time.Millisecond), Source: l.Source, Device: l.Device, Body: l.Body})
		}
		return s.append(c, again)
	})
}

// Discard implements medtech.Store.
func (s *Store) Discard(ctx context.Context, q medtech.DeadLetterQuery) (int, error) {
	return s.settle(ctx, q, medtech.LetterDiscarded, func(*db.Conn, []medtech.DeadLetter) error { return nil })
}

// settle closes open dead letters, the oldest first.
func (s *Store) settle(ctx context.Context, q medtech.DeadLetterQuery, state medtech.LetterState, do func(*db.Conn, []medtech.DeadLetter) error) (int, error) {
	q.State, q.Before = medtech.LetterOpen, 0
	cond, args := where(q)
	total := 0
	for {
		n := 0
		err := s.write(ctx, redrivePage, func(c *db.Conn) error {
			var list []medtech.DeadLetter
			text := fmt.Sprintf("SELECT id, %s, body FROM letter WHERE %s ORDER BY id LIMIT %d", letterColumns, cond, redrivePage)
			err := c.Query(text, func(r *db.Stmt) error {
				l := scanLetter(r)
				l.Body = r.ColBlob(16, []byte{})
				list = append(list, l)
				return nil
			}, args...)
			if err != nil {
				return err
			}
			if err := do(c, list); err != nil {
				return err
			}
			for _, l := range list {
				if err := c.Exec("UPDATE letter SET state = $1 WHERE id = $2", string(state), l.ID); err != nil {
					return err
				}
			}
			n = len(list)
			return nil
		})
		total += n
		if err != nil || n < redrivePage {
			return total, err
		}
	}
}
