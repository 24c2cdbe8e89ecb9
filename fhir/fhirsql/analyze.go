package fhirsql

import (
	"context"
	"log/slog"

	"github.com/hygeia-health/hygeia/platform/db"
)

// PostgreSQL plans by statistics that autovacuum gathers: not before a minute
// after a table began to grow, and again when a tenth of it changed. What was
// loaded in between is planned for as if the tables were empty, which makes an
// export three times as slow. So a store has them gathered while it grows.

// analyzeEvery is after how many changes a node looks at the statistics.
const analyzeEvery = 20_000

// sqlKnown reads how many names were given, and how many the statistics know.
const sqlKnown = `SELECT coalesce((SELECT v FROM meta WHERE k='rid'), 0),
coalesce((SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid=CAST(CAST('key' AS TEXT) AS regclass)), 0)`

// analyzed are the tables that grow with a store; the one that sqlKnown looks at
// is the last, so that what was interrupted is done again.
var analyzed = []string{"body", "res", "chg", "hist", "tok", "ref", "str", "dat", "qty", "cvq", "txt", "key"}

// analyzeSoon runs in the writer after a commit.
func (s *Store) analyzeSoon() {
	if !s.shared || s.changes < analyzeEvery {
		return
	}
	s.changes = 0
	s.analysis.start(s.opt.Log, statistics, s.analyze)
}

// statistics names the work in the log.
const statistics = "statistics of the tables"

// Analyze has the statistics of the tables gathered, if the store has doubled
// since that was done, on a server. It reads a sample of each table, at the pace
// of autovacuum. What fails is logged: autovacuum will do it.
func (s *Store) Analyze(ctx context.Context) {
	if err := s.analyze(ctx); err != nil && ctx.Err() == nil && s.opt.Log != nil {
		s.opt.Log.LogAttrs(ctx, slog.LevelError, statistics, slog.Any("error", err))
	}
}

func (s *Store) analyze(ctx context.Context) error {
	if !s.shared {
		return nil
	}
	return s.db.Read(ctx, func(c *db.Conn) error {
		var given, known int64
		err := c.Query(sqlKnown, func(st *db.Stmt) error { given, known = st.ColInt(0), st.ColInt(1); return nil })
		// Numbers may have been set aside for names and never used, more than
		// there are names: that alone is no reason to do it again and again.
		if err != nil || given <= 2*max(known, 0) || given-s.analyzed.Load() <= known/2 {
			return err
		}
		for _, table := range analyzed { // each with the setting in a transaction of its own, where it ends
			if err := c.Script("SET LOCAL vacuum_cost_delay=2; ANALYZE " + table); err != nil {
				return err
			}
		}
		s.analyzed.Store(given)
		return nil
	})
}
