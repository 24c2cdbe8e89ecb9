package medtech

import (
	"runtime"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// parallelFrom is the number of messages from which a second goroutine pays.
const parallelFrom = 64

// normalized is the outcome of one message.
type normalized struct {
	list []mapping.Measurement
	errs []*mapping.Error
}

// normalize runs the device mapping over messages.
func (s *Service) normalize(list []Raw, maps *compiled) *batch {
	begin := time.Now()
	b := &batch{raws: list, maps: maps}
	results := make([]normalized, len(list))
	work := func(from, to int) {
		for i := from; i < to; i++ {
			err := fault.Guard("medtech: normalize", func() error {
				results[i] = normalizeOne(&list[i], maps)
				return nil
			})
			if err != nil {
				s.log.Error("normalizing a message failed", "offset", list[i].Offset, "err", err)
				results[i] = normalized{errs: []*mapping.Error{{Class: MeasurementProcessing, Msg: "internal error"}}}
			}
		}
	}
	if n := min(runtime.GOMAXPROCS(0), len(list)/parallelFrom); n > 1 {
		var wg sync.WaitGroup
		for w := range n {
			wg.Go(func() { work(len(list)*w/n, len(list)*(w+1)/n) })
		}
		wg.Wait()
	} else {
		work(0, len(list))
	}
	count := Normalized{Messages: len(list)}
	for i, r := range results {
		b.list = append(b.list, r.list...)
		for range r.list {
			b.of = append(b.of, i)
		}
		for _, e := range r.errs {
			s.meter.Failed(StageNormalize, string(e.Class), 1)
			b.fail(s, i, StageNormalize, e)
		}
		if len(r.list) == 0 && len(r.errs) == 0 {
			count.Dropped++
		}
	}
	count.Measurements, count.Took = len(b.list), time.Since(begin)
	s.meter.Normalized(count)
	s.meter.Latency(StageNormalize, s.now().Sub(list[0].Arrived))
	return b
}

func normalizeOne(r *Raw, maps *compiled) normalized {
	msg, err := mapping.ParseMessage(r.Body, mapping.Source{Arrived: r.Arrived, Device: r.Device})
	if err != nil && compressed(r.Body) {
		return normalized{errs: []*mapping.Error{{Class: CompressionUnsupported, Msg: "the message is compressed; gzip is unpacked when it is whole and has less than 16 MiB in it"}}}
	}
	if err != nil {
		return normalized{errs: []*mapping.Error{mapping.AsError(err, mapping.InvalidDataFormat)}}
	}
	list, errs := maps.device.Normalize(msg, nil)
	return normalized{list, errs}
}

// fail notes that a message, or a part of it, could not be processed.
func (b *batch) fail(s *Service, i int, stage Stage, e *mapping.Error) {
	r := &b.raws[i]
	b.dead = append(b.dead, DeadLetter{
		Offset: r.Offset, Arrived: r.Arrived, Failed: s.now(), Source: r.Source, Stage: stage,
		Class: e.Class, Message: e.Msg, Type: e.TypeName, Line: e.Line, Column: e.Column,
		DeviceMapping: b.maps.deviceVersion, FHIRMapping: b.maps.fhirVersion, State: LetterOpen,
		Device: r.Device, Body: r.Body,
	})
}
