package imaging

// Attrs encodes attributes for the tests from outside.
var Attrs = attrs
