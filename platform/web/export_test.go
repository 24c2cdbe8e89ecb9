package web

// Clients returns how many clients a gate remembers.
func (g *Gate) Clients() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.clients)
}
