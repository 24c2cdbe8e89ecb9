package dicomsql

// SetPlan makes searches think that other numbers of rows are few and many.
func SetPlan(few, many int) (undo func()) {
	a, b := fewMembers, manyOuter
	fewMembers, manyOuter = few, many
	return func() { fewMembers, manyOuter = a, b }
}

// Remembered returns how many instances are known without a read.
func (s *Store) Remembered() int {
	s.recent.mu.Lock()
	defer s.recent.mu.Unlock()
	return len(s.recent.young) + len(s.recent.old)
}

// SetFar makes searches look for pages from another offset on.
func SetFar(offset int) (undo func()) {
	before := farOffset
	farOffset = offset
	return func() { farOffset = before }
}
