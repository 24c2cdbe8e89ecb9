package dicomsql

// SetPlan makes searches think that other numbers of rows are few and many.
func SetPlan(few, many int) (undo func()) {
	a, b := fewMembers, manyOuter
	fewMembers, manyOuter = few, many
	return func() { fewMembers, manyOuter = a, b }
}
