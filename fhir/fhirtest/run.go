package fhirtest

import (
	"errors"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Run checks that a store keeps the contract of fhir.Store. open returns an
// empty store that is closed by the test's cleanup; it must read queries of
// search.Default().
func Run(t *testing.T, open func(t *testing.T) fhir.Store) {
	parts := []struct {
		name string
		test func(kit)
	}{
		{"Versions", versions},
		{"Methods", methods},
		{"NoChange", noChange},
		{"IfMatch", ifMatch},
		{"MustExist", mustExist},
		{"DeleteRevive", deleteRevive},
		{"HardDelete", hardDelete},
		{"PurgeHistory", purgeHistory},
		{"NoHistory", noHistory},
		{"Sequence", sequence},
		{"KeepsNothing", keepsNothing},
		{"Atomic", atomic},
		{"SameKeyTwice", sameKeyTwice},
		{"Guards", guards},
		{"GuardRace", guardRace},
		{"ConcurrentUpdates", concurrentUpdates},
		{"History", histories},
		{"HistoryWindow", historyWindow},
		{"HistoryPages", historyPages},
		{"HistoryWhileWriting", historyWhileWriting},
		{"Search", searches},
		{"SearchCurrentOnly", searchCurrentOnly},
		{"SearchSystem", searchSystem},
		{"SearchCompartment", searchCompartment},
		{"SearchChains", searchChains},
		{"SearchIncludes", searchIncludes},
		{"SearchSortVia", searchSortVia},
		{"SearchPages", searchPages},
		{"SearchSort", searchSort},
		{"SearchTotal", searchTotal},
		{"SearchCursor", searchCursor},
		{"Scan", scans},
		{"Mark", marks},
		{"Import", imports},
		{"ImportOneMillisecond", importsOneMillisecond},
		{"ImportLikeTheModel", importsLikeTheModel},
		{"LikeTheModel", likeTheModel},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			p.test(kit{T: t, s: open(t), reg: search.Default()})
		})
	}
}

// opIndex returns the operation that an error of Apply names.
func opIndex(err error) (int, bool) {
	if e, ok := errors.AsType[*fhir.OpError](err); ok {
		return e.Index, true
	}
	return -1, false
}
