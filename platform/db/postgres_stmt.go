package db

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The types that are sent and read in binary; any other goes as text.
const (
	oidBool   = 16
	oidBytea  = 17
	oidInt8   = 20
	oidInt2   = 21
	oidInt4   = 23
	oidText   = 25
	oidFloat4 = 700
	oidFloat8 = 701
	oidInt8s  = 1016
	oidTexts  = 1009
	oidByteas = 1001
	oidFloats = 1022
)

// pgStmt is a prepared statement of one session. All rows of a query are read
// before the first one is given out, so that others can run in between.
type pgStmt struct {
	c        *pgConn
	text     string
	gen      int
	desc     *pgconn.StatementDescription
	pformats []int16
	rformats []int16

	buf    []byte   // the parameters' bytes
	params [][]byte // nil is NULL

	ran   bool
	sent  bool   // ahead of its first step
	came  bool   // and its rows are here
	data  []byte // the rows' bytes
	cells []span
	rows  int
	row   int // the current one, from 0
}

// span is where a value lies in data; from is -1 for NULL.
type span struct{ from, to int }

func (s *pgStmt) describe(d *pgconn.StatementDescription) {
	s.desc = d
	s.params = make([][]byte, len(d.ParamOIDs))
	s.pformats = make([]int16, len(d.ParamOIDs))
	for i, oid := range d.ParamOIDs {
		s.pformats[i] = format(oid)
	}
	s.rformats = make([]int16, len(d.Fields))
	for i := range d.Fields {
		s.rformats[i] = format(d.Fields[i].DataTypeOID)
	}
}

func format(oid uint32) int16 {
	switch oid {
	case oidBool, oidBytea, oidInt8, oidInt2, oidInt4, oidText, oidFloat4, oidFloat8, oidInt8s, oidTexts, oidByteas, oidFloats:
		return 1
	}
	return 0
}

func (s *pgStmt) unbind() {
	clear(s.params)
	s.buf = s.buf[:0]
}

// hold keeps bytes until the statement is sent. Growing the buffer leaves
// earlier parameters in the old one, which is still right. An empty value is
// not NULL.
func (s *pgStmt) hold(i int, from int) {
	if s.buf == nil {
		s.buf = make([]byte, 0, 64)
	}
	s.params[i] = s.buf[from:len(s.buf):len(s.buf)]
}

func (s *pgStmt) bindNull(i int) { s.params[i] = nil }

func (s *pgStmt) bindInt(i int, v int64) {
	at := len(s.buf)
	switch s.desc.ParamOIDs[i] {
	case oidInt8:
		s.buf = binary.BigEndian.AppendUint64(s.buf, uint64(v))
	case oidInt4:
		s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(int32(min(max(v, math.MinInt32), math.MaxInt32))))
	case oidInt2:
		s.buf = binary.BigEndian.AppendUint16(s.buf, uint16(int16(min(max(v, math.MinInt16), math.MaxInt16))))
	case oidFloat8:
		s.buf = binary.BigEndian.AppendUint64(s.buf, math.Float64bits(float64(v)))
	case oidFloat4:
		s.buf = binary.BigEndian.AppendUint32(s.buf, math.Float32bits(float32(v)))
	case oidBool:
		b := byte(0)
		if v != 0 {
			b = 1
		}
		s.buf = append(s.buf, b)
	default:
		s.buf = strconv.AppendInt(s.buf, v, 10)
	}
	s.hold(i, at)
}

func (s *pgStmt) bindFloat(i int, v float64) {
	at := len(s.buf)
	switch s.desc.ParamOIDs[i] {
	case oidFloat8:
		s.buf = binary.BigEndian.AppendUint64(s.buf, math.Float64bits(v))
	case oidFloat4:
		s.buf = binary.BigEndian.AppendUint32(s.buf, math.Float32bits(float32(v)))
	case oidInt8, oidInt4, oidInt2, oidBool:
		s.bindInt(i, int64(v))
		return
	default:
		s.buf = strconv.AppendFloat(s.buf, v, 'g', -1, 64)
	}
	s.hold(i, at)
}

// bindText: PostgreSQL keeps no NUL inside a text, and nothing that is stored
// by value has one; the replacement character is what a search finds then.
func (s *pgStmt) bindText(i int, v string) {
	at := len(s.buf)
	s.buf = append(s.buf, withoutNUL(v)...)
	s.hold(i, at)
}

func withoutNUL(v string) string {
	if strings.IndexByte(v, 0) < 0 {
		return v
	}
	return strings.ReplaceAll(v, "\x00", "\uFFFD")
}

func (s *pgStmt) bindBlob(i int, v []byte) {
	at := len(s.buf)
	s.buf = append(s.buf, v...)
	s.hold(i, at)
}

// array writes the head of a one-dimensional array.
func (s *pgStmt) array(oid uint32, n int) int {
	at := len(s.buf)
	dims := uint32(1)
	if n == 0 {
		dims = 0
	}
	s.buf = binary.BigEndian.AppendUint32(s.buf, dims)
	s.buf = binary.BigEndian.AppendUint32(s.buf, 0)
	s.buf = binary.BigEndian.AppendUint32(s.buf, oid)
	if n > 0 {
		s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(n))
		s.buf = binary.BigEndian.AppendUint32(s.buf, 1)
	}
	return at
}

func (s *pgStmt) bindArray(i int, v any) {
	var at int
	length := func(n int) { s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(n)) }
	switch v := v.(type) {
	case []int64:
		at = s.array(oidInt8, len(v))
		for _, x := range v {
			length(8)
			s.buf = binary.BigEndian.AppendUint64(s.buf, uint64(x))
		}
	case []float64:
		at = s.array(oidFloat8, len(v))
		for _, x := range v {
			length(8)
			s.buf = binary.BigEndian.AppendUint64(s.buf, math.Float64bits(x))
		}
	case []string:
		at = s.array(oidText, len(v))
		for _, x := range v {
			x = withoutNUL(x)
			length(len(x))
			s.buf = append(s.buf, x...)
		}
	case [][]byte:
		at = s.array(oidBytea, len(v))
		for _, x := range v {
			length(len(x))
			s.buf = append(s.buf, x...)
		}
	}
	s.hold(i, at)
}

func (s *pgStmt) run() error {
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.c.send(s, nil); err != nil {
		return err
	}
	if s.c.write && s.c.inTx {
		return nil
	}
	return s.c.sync()
}

// ready prepares the statement again after the session was replaced.
func (s *pgStmt) ready() error {
	if s.c.dead() {
		if err := s.c.revive(); err != nil {
			return s.c.fault("run", err)
		}
	}
	if s.gen == s.c.gen {
		return nil
	}
	params, buf := s.params, s.buf
	if err := s.prepare(); err != nil {
		return err
	}
	s.params, s.buf = params, buf
	return nil
}

func (s *pgStmt) ahead() error {
	if err := s.ready(); err != nil {
		return err
	}
	params := slices.Clone(s.params) // should it have to be sent again
	s.clear()
	s.sent, s.came = true, false
	err := s.c.send(s, s)
	copy(s.params, params)
	return err
}

// await gets the rows of a query that was sent ahead. It is sent again when the
// session was replaced before it answered.
func (s *pgStmt) await() error {
	if !s.came {
		clean := s.c.clean && !s.c.write
		if err := s.c.sync(); err != nil && !(clean && isConnError(err)) {
			return err
		}
	}
	if !s.came {
		if s.c.write {
			return s.c.fault("run", errNotAnswered)
		}
		return s.query()
	}
	s.unbind()
	return nil
}

var errNotAnswered = errors.New("the query was not answered")

func (s *pgStmt) step() (bool, error) {
	if !s.ran {
		run := s.query
		if s.sent {
			run = s.await
		}
		if err := run(); err != nil {
			return false, err
		}
		s.ran, s.row = true, -1
	}
	s.row++
	return s.row < s.rows, nil
}

func (s *pgStmt) query() error {
	if err := s.ready(); err != nil {
		return err
	}
	clean := s.c.clean && !s.c.write
	var params [][]byte
	if clean { // it may have to be sent a second time
		params = slices.Clone(s.params)
	}
	s.clear()
	if err := s.c.send(s, s); err != nil {
		return err
	}
	err := s.c.sync()
	if err == nil || !clean || !isConnError(err) {
		return err
	}
	if s.c.revive() != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	copy(s.params, params)
	s.clear()
	if err := s.c.send(s, s); err != nil {
		return err
	}
	return s.c.sync()
}

// take copies the rows of a result.
func (s *pgStmt) take(r *pgconn.ResultReader) {
	s.came = true
	for r.NextRow() {
		for _, v := range r.Values() {
			if v == nil {
				s.cells = append(s.cells, span{-1, -1})
				continue
			}
			at := len(s.data)
			s.data = append(s.data, v...)
			s.cells = append(s.cells, span{at, len(s.data)})
		}
		s.rows++
	}
}

func (s *pgStmt) clear() {
	s.data, s.cells, s.rows = s.data[:0], s.cells[:0], 0
	if cap(s.data) > 1<<20 {
		s.data = nil
	}
}

func (s *pgStmt) reset() error {
	if s.sent && !s.came { // its rows must not be taken for those of the next run
		_ = s.c.sync()
	}
	s.ran, s.sent = false, false
	s.unbind()
	return nil
}

// close frees the statement on the server, if its session is still there.
func (s *pgStmt) close() {
	c := s.c
	if s.gen != c.gen || c.dead() || c.sync() != nil || c.dead() {
		return
	}
	_ = c.pc.Deallocate(c.ctx(), s.desc.Name)
}

func (s *pgStmt) cell(i int) []byte {
	c := s.cells[s.row*len(s.desc.Fields)+i]
	if c.from < 0 {
		return nil
	}
	return s.data[c.from:c.to:c.to]
}

func (s *pgStmt) colNull(i int) bool { return s.cells[s.row*len(s.desc.Fields)+i].from < 0 }

func (s *pgStmt) colInt(i int) int64 {
	switch v := s.colValue(i).(type) {
	case int64:
		return v
	case float64:
		return int64(v)
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

func (s *pgStmt) colText(i int) string {
	switch v := s.colValue(i).(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func (s *pgStmt) colBlob(i int, dst []byte) []byte { return append(dst, s.cell(i)...) }

const oidNumeric = 1700

func (s *pgStmt) colValue(i int) any {
	v := s.cell(i)
	if v == nil {
		return nil
	}
	switch s.desc.Fields[i].DataTypeOID {
	case oidInt8:
		return int64(binary.BigEndian.Uint64(v))
	case oidInt4:
		return int64(int32(binary.BigEndian.Uint32(v)))
	case oidInt2:
		return int64(int16(binary.BigEndian.Uint16(v)))
	case oidBool:
		return int64(v[0])
	case oidFloat8:
		return math.Float64frombits(binary.BigEndian.Uint64(v))
	case oidFloat4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v)))
	case oidBytea:
		return append([]byte(nil), v...)
	case oidNumeric: // the sum of integers
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		f, _ := strconv.ParseFloat(string(v), 64)
		return f
	}
	return string(v)
}
