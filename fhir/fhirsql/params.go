package fhirsql

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
)

var _ fhir.ParamStore = (*Store)(nil)

// ParamStates implements fhir.ParamStore.
func (s *Store) ParamStates(ctx context.Context) (states map[string]bool, edition int64, err error) {
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		states, edition = map[string]bool{}, 0
		err := c.Query("SELECT v FROM meta WHERE k='sp'", func(st *db.Stmt) error { edition = st.ColInt(0); return nil })
		if err != nil {
			return err
		}
		return c.Query("SELECT name, done FROM sp", func(st *db.Stmt) error {
			if name := st.ColText(0); !strings.HasPrefix(name, switchedOff) {
				states[name] = st.ColInt(1) != 0
			}
			return nil
		})
	})
	return states, edition, err
}

// switchedOff and a URL are the name of a parameter in sp that is disabled. The
// names of custom ones have no blank.
const switchedOff = "off "

// DisabledParams implements fhir.ParamSwitcher.
func (s *Store) DisabledParams(ctx context.Context) (urls []string, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT name FROM sp ORDER BY name", func(st *db.Stmt) error {
			if url, ok := strings.CutPrefix(st.ColText(0), switchedOff); ok {
				urls = append(urls, url)
			}
			return nil
		})
	})
	return urls, err
}

// SwitchParams implements fhir.ParamSwitcher.
func (s *Store) SwitchParams(ctx context.Context, list []fhir.ParamSwitch) error {
	return s.switchParams(ctx, func() bool { return true }, list)
}

// SwitchParamsIn implements fhir.ParamSwitcher.
func (s *Store) SwitchParamsIn(ctx context.Context, edition int64, list []fhir.ParamSwitch) error {
	return s.switchParams(ctx, func() bool { return s.edition.now == edition }, list)
}

func (s *Store) switchParams(ctx context.Context, current func() bool, list []fhir.ParamSwitch) error {
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		if !current() {
			return fhir.ErrOutdated
		}
		for _, p := range list {
			text := "DELETE FROM sp WHERE name=$1"
			if p.Off {
				text = "INSERT INTO sp (name, done) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING"
			}
			if err := c.Exec(text, switchedOff+p.URL); err != nil {
				return &db.Broken{Err: err}
			}
		}
		if err := s.newEdition(c); err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
}

// SetParamState implements fhir.ParamStore.
func (s *Store) SetParamState(ctx context.Context, key string, complete bool) error {
	done := 0
	if complete {
		done = 1
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		changed := false
		err := c.Query("INSERT INTO sp (name, done) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET done=excluded.done WHERE excluded.done>sp.done RETURNING done",
			func(*db.Stmt) error { changed = true; return nil }, key, done)
		if err != nil || !changed {
			return err
		}
		return s.newEdition(c)
	}})
}

// ParamsTopic is the topic of db.Conn.Announce for a new edition of the search
// parameters of a store.
const ParamsTopic = "params"

// newEdition says in the open transaction that the definitions of search
// parameters change.
func (s *Store) newEdition(c *db.Conn) error {
	s.edition.now++
	err := c.Exec("INSERT INTO meta (k, v) VALUES ('sp', $1) ON CONFLICT (k) DO UPDATE SET v=excluded.v", s.edition.now)
	if err != nil {
		return err
	}
	return c.Announce(ParamsTopic)
}

// defines begins a new edition when an operation changes a definition.
func (s *Store) defines(c *db.Conn, op *fhir.Op) error {
	if op.Key.Type != "SearchParameter" || op.Kind == fhir.OpPurgeHistory {
		return nil
	}
	return s.newEdition(c)
}

// edition is that of the definitions of search parameters.
type edition struct {
	held atomic.Int64 // by the registry; -1: nobody defines any
	now  int64        // in the tables, as the writer sees them
	kept int64        // in the tables when the last transaction was committed; writer only
}

// Defined implements fhir.ParamStore.
func (s *Store) Defined(edition int64) { s.edition.held.Store(edition) }

// outdated reports in the writer that the registry must not index by what it holds.
func (s *Store) outdated() error {
	if held := s.edition.held.Load(); held >= 0 && held != s.edition.now {
		return fhir.ErrOutdated
	}
	return nil
}

// forgetSlice is how many rows are deleted in one turn of the writer.
const forgetSlice = 2000

// ForgetParam implements fhir.ParamStore. The rows go first, so that a crash
// leaves the state, and what is left of them is removed at the next start.
func (s *Store) ForgetParam(ctx context.Context, key string) error {
	// One that is defined again meanwhile is not complete.
	err := s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		if err := s.outdated(); err != nil {
			return err
		}
		return c.Exec("UPDATE sp SET done=0 WHERE name=$1", key)
	}})
	if err != nil {
		return err
	}
	for _, name := range s.params.all() {
		if _, own, ok := strings.Cut(name, "#"); !ok || own != key && !strings.HasPrefix(own, key+":") && !strings.HasPrefix(own, key+"#") {
			continue
		}
		id := s.params.id(name)
		for _, table := range []string{"tok", "ref", "str", "dat", "qty", "cvq"} {
			if err := s.forgetRows(ctx, table, id); err != nil {
				return err
			}
		}
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		if err := s.outdated(); err != nil {
			return err
		}
		return c.Exec("DELETE FROM sp WHERE name=$1", key)
	}})
}

func (s *Store) forgetRows(ctx context.Context, table string, p int64) error {
	for more := true; more; {
		err := s.db.Write(ctx, &db.Work{Size: forgetSlice, Bulk: true, Do: func(c *db.Conn) error {
			if err := s.outdated(); err != nil {
				return err
			}
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
