package dicomhttp_test

import "testing"

// TestPostgres does on PostgreSQL what other tests do on a file.
func TestPostgres(t *testing.T) {
	for name, f := range map[string]func(*testing.T){
		"StoreAndRetrieve": TestStoreAndRetrieve, "Search": TestSearch, "Roles": TestRoles, "Reopen": TestReopen, "ConcurrentStores": TestConcurrentStores,
		"BulkUpdate": TestBulkUpdate, "DeleteAndChangeFeed": TestDeleteAndChangeFeed, "Partitions": TestPartitions, "SearchPages": TestSearchPages,
		"ExtendedQueryTags": TestExtendedQueryTags, "Compact": TestCompact, "OperationCancelled": TestOperationCancelled, "Export": TestExport, "Import": TestImport, "ExportOfPartition": TestExportOfPartition,
		"WorkitemStates": TestWorkitemStates, "WorkitemSearch": TestWorkitemSearch, "WorkitemPartitions": TestWorkitemPartitions,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}
