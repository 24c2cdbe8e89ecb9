package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// imagings are the instruments of all services that keep ImagingStudies.
type imagings struct {
	worked                *prometheus.CounterVec
	age, pending, waiting *prometheus.Desc
	lags                  sync.Map // service -> func() ImagingLag
}

func newImagings() *imagings {
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("hygeia_dicom_imagingstudy_"+name, help, []string{"service"}, nil)
	}
	return &imagings{
		worked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hygeia_dicom_imagingstudy_total", Help: "Studies that were worked off, by what became of their ImagingStudy.",
		}, []string{"service", "outcome"}),
		age:     gauge("lag_seconds", "Age of the oldest change of a study that its ImagingStudy does not show yet."),
		pending: gauge("pending", "Studies that have changed and are to be worked off."),
		waiting: gauge("waiting", "Studies that are tried again later: without a Patient, or refused by the FHIR service."),
	}
}

// Describe implements prometheus.Collector.
func (i *imagings) Describe(ch chan<- *prometheus.Desc) {
	ch <- i.age
	ch <- i.pending
	ch <- i.waiting
}

// Collect implements prometheus.Collector.
func (i *imagings) Collect(ch chan<- prometheus.Metric) {
	i.lags.Range(func(service, f any) bool {
		l := f.(func() ImagingLag)()
		for desc, v := range map[*prometheus.Desc]float64{i.age: l.Age.Seconds(), i.pending: float64(l.Pending), i.waiting: float64(l.Waiting)} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, service.(string))
		}
		return true
	})
}

// Imaging are the instruments of one service that keeps ImagingStudies.
type Imaging struct {
	all     *imagings
	service string
}

// ImagingLag is how far ImagingStudies are behind the studies.
type ImagingLag struct {
	Pending, Waiting int
	Age              time.Duration
}

// Imaging returns the instruments of a DICOM service.
func (m *Metrics) Imaging(service string) *Imaging { return &Imaging{m.imaging, service} }

// ForgetImaging drops the series of a service that keeps no ImagingStudies any more.
func (m *Metrics) ForgetImaging(service string) {
	m.imaging.lags.Delete(service)
	m.imaging.worked.DeletePartialMatch(prometheus.Labels{"service": service})
}

// Worked counts a study that was worked off.
func (i *Imaging) Worked(outcome string) { i.all.worked.WithLabelValues(i.service, outcome).Inc() }

// Lag sets the function that tells how far the resources are behind.
func (i *Imaging) Lag(f func() ImagingLag) { i.all.lags.Store(i.service, f) }
