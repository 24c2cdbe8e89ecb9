package dicomhttp

import "net/http"

// delete is DELETE of a study, series or instance, as AHDS has it.
func (x *exchange) delete() error {
	if _, err := x.h.s.Delete(x.r.Context(), x.target()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}
