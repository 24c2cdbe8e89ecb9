package resource

// Node is a handle on one value of a Doc. The zero Node is absent; every method is safe on it.
type Node struct {
	d *Doc
	i int32
}

// Doc is a parsed JSON text.
type Doc struct {
	Src []byte
}
