package fhirsql

import (
	"context"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
)

var _ fhir.ParamStore = (*Store)(nil)

// ParamStates implements fhir.ParamStore.
func (s *Store) ParamStates(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	err := s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT name, done FROM sp", func(st *db.Stmt) error {
			out[st.ColText(0)] = st.ColInt(1) != 0
			return nil
		})
	})
	return out, err
}

// SetParamState implements fhir.ParamStore.
func (s *Store) SetParamState(ctx context.Context, key string, complete bool) error {
	done := 0
	if complete {
		done = 1
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("INSERT INTO sp (name, done) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET done=excluded.done", key, done)
	}})
}

// forgetSlice is how many rows are deleted in one turn of the writer.
const forgetSlice = 2000

// ForgetParam implements fhir.ParamStore. The rows go first, so that a crash
// leaves the state, and what is left of them is removed at the next start.
func (s *Store) ForgetParam(ctx context.Context, key string) error {
	for _, name := range s.params.all() {
		if _, own, ok := strings.Cut(name, "#"); !ok || own != key && !strings.HasPrefix(own, key+":") {
			continue
		}
		id := s.params.id(name)
		for _, table := range []string{"tok", "ref", "str", "dat", "qty", "cvq"} {
			if err := s.forgetRows(ctx, table, id); err != nil {
				return err
			}
		}
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error { return c.Exec("DELETE FROM sp WHERE name=$1", key) }})
}

func (s *Store) forgetRows(ctx context.Context, table string, p int64) error {
	for more := true; more; {
		err := s.db.Write(ctx, &db.Work{Size: forgetSlice, Bulk: true, Do: func(c *db.Conn) error {
			if err := s.pending.flush(c); err != nil {
				return &db.Broken{Err: err}
			}
			var rids []any
			err := c.Query("SELECT DISTINCT rid FROM "+table+" WHERE p=$1 LIMIT $2+0", func(st *db.Stmt) error {
				rids = append(rids, st.ColInt(0))
				return nil
			}, p, forgetSlice)
			if err != nil || len(rids) == 0 {
				more = false
				return err
			}
			b := &sqlb{d: s.dialect}
			b.w("DELETE FROM "+table+" WHERE p=? AND rid IN ("+marks(len(rids))+")", append([]any{p}, rids...)...)
			if err := c.Exec(string(b.text), b.args...); err != nil {
				return &db.Broken{Err: err}
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}
