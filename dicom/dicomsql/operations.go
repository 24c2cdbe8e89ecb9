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

// AddOperation implements dicom.Operations.
func (s *Store) AddOperation(ctx context.Context, op *dicom.Operation, alone bool) (running string, err error) {
	err = s.write(ctx, func(c *db.Conn) error {
		running = ""
		if alone {
			err := c.Query("SELECT id FROM op WHERE status < $1 AND kind = $2", func(st *db.Stmt) error { running = st.ColText(0); return nil }, int(dicom.OperationDone), string(op.Kind))
			if err != nil || running != "" {
				return err
			}
		}
		return c.Exec("INSERT INTO op (id, kind, status, created, updated, percent, input, state, result) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			op.ID, string(op.Kind), int(op.Status), op.Created.UnixMicro(), op.Updated.UnixMicro(), op.Percent,
			string(op.Input), string(op.State), string(op.Result))
	})
	return running, err
}

// PutOperation implements dicom.Operations.
func (s *Store) PutOperation(ctx context.Context, op *dicom.Operation) error {
	return s.write(ctx, func(c *db.Conn) error {
		open := false
		err := c.Query("UPDATE op SET status = $1, updated = $2, percent = $3, state = $4, result = $5 WHERE id = $6 AND status < $7 RETURNING id",
			func(*db.Stmt) error { open = true; return nil },
			int(op.Status), op.Updated.UnixMicro(), op.Percent, string(op.State), string(op.Result), op.ID, int(dicom.OperationDone))
		if err == nil && !open {
			err = fault.New(fault.Conflict, "The operation has ended.")
		}
		return err
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
