package dicomsql

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

const operationColumns = "SELECT id, kind, status, created, updated, percent, input, state, result FROM op"

func scanOperation(st *db.Stmt) *dicom.Operation {
	return &dicom.Operation{
		ID: st.ColText(0), Kind: dicom.OperationKind(st.ColText(1)), Status: dicom.OperationStatus(st.ColInt(2)),
		Created: time.UnixMicro(st.ColInt(3)).UTC(), Updated: time.UnixMicro(st.ColInt(4)).UTC(), Percent: int(st.ColInt(5)),
		Input: []byte(st.ColText(6)), State: []byte(st.ColText(7)), Result: []byte(st.ColText(8)),
	}
}

// PutOperation implements dicom.Operations.
func (s *Store) PutOperation(ctx context.Context, op *dicom.Operation) error {
	return s.write(ctx, func(c *db.Conn) error {
		return c.Exec("INSERT INTO op (id, kind, status, created, updated, percent, input, state, result) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "+
			"ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated = excluded.updated, percent = excluded.percent, state = excluded.state, result = excluded.result",
			op.ID, string(op.Kind), int(op.Status), op.Created.UnixMicro(), op.Updated.UnixMicro(), op.Percent,
			string(op.Input), string(op.State), string(op.Result))
	})
}

// Operation implements dicom.Operations.
func (s *Store) Operation(ctx context.Context, id string) (op *dicom.Operation, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query(operationColumns+" WHERE id = $1", func(st *db.Stmt) error { op = scanOperation(st); return nil }, id)
	})
	if err == nil && op == nil {
		err = fault.New(fault.NotFound, "The specified operation cannot be found.")
	}
	return op, err
}

// OpenOperations implements dicom.Operations.
func (s *Store) OpenOperations(ctx context.Context) (list []*dicom.Operation, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query(operationColumns+" WHERE status < $1 ORDER BY created, id", func(st *db.Stmt) error {
			list = append(list, scanOperation(st))
			return nil
		}, int(dicom.OperationDone))
	})
	return list, err
}
