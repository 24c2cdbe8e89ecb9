package server

// PlatformPaths lists the paths that belong to no room.
func (s *Server) PlatformPaths() []string {
	var out []string
	for path := range s.platformHandlers() {
		out = append(out, path)
	}
	return out
}
