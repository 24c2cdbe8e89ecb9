package server

// ArchiveOf is for the tests.
var ArchiveOf = archiveOf
