package dicom

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// OperationUpdate changes attributes of the patient and the study in all
// instances of studies (bulk update of AHDS).
const OperationUpdate OperationKind = "update"

// Updater is the part of the store that replaces instances by changed versions.
type Updater interface {
	// Update puts a record in the place of an instance in one transaction, with
	// an update in the change feed. The version that was there before the first
	// update stays as the original; what came between is dropped. It is Conflict
	// when old is not the current version any more, and ErrTagsChanged as in Put.
	Update(ctx context.Context, part Partition, old *Instance, rec *Record, tags int64) error
}

// updatable are the attributes that may change: patient identification and
// demographics, and some of the study, as AHDS has it.
var updatable = tagSet(
	dcm.TagPatientName, dcm.TagPatientID, 0x00100021, 0x00100022, 0x00101001, 0x00101005, 0x00101060, 0x00101090,
	dcm.TagPatientBirthDate, 0x00100032, dcm.TagPatientSex, 0x00100200, 0x00101010, 0x00101020, 0x00101030, 0x00101040, 0x00101080,
	0x00101081, 0x00102150, 0x00102152, 0x00102154, 0x00102160, 0x00102180, 0x001021F0, 0x00102201, 0x00102292, 0x00102295,
	0x00102297, 0x00102298, 0x00102299, 0x00104000, 0x00403001,
	dcm.TagAccessionNumber, dcm.TagReferringPhysicianName, dcm.TagStudyDate, dcm.TagStudyDescription,
)

// maxUpdateStudies is the limit of AHDS for one request.
const maxUpdateStudies = 50

type updateInput struct {
	Partition Partition `json:"partition"`
	Studies   []string  `json:"studies"`
	Change    []byte    `json:"change"` // DICOM JSON
}

type updateState struct {
	Study int     `json:"study"` // the one that is worked on
	After Version `json:"after"`
	Until Version `json:"until"` // what is newer was not there when it began
	// Failed says that an instance of the study could not be changed.
	Failed bool         `json:"failed"`
	Result updateResult `json:"result"`
}

type updateResult struct {
	StudyProcessed  int      `json:"studyProcessed"` // those that are not there included
	StudyUpdated    int      `json:"studyUpdated"`
	StudyFailed     int      `json:"studyFailed"`
	InstanceUpdated int      `json:"instanceUpdated"`
	Errors          []string `json:"errors,omitempty"`
}

// FailedAttributes are why a change was refused, one comment each.
type FailedAttributes struct{ Comments []string }

// Error implements error.
func (f *FailedAttributes) Error() string { return "attributes cannot be changed" }

// AppendJSON appends the data set that AHDS answers.
func (f *FailedAttributes) AppendJSON(dst []byte) []byte {
	d := &dcm.Dataset{}
	d.Put((&Outcome{Comments: f.Comments}).attributes())
	return d.AppendJSON(dst, dcm.JSONOptions{})
}

// Update begins to change attributes in all instances of studies; change is a
// data set in DICOM JSON. The error is *FailedAttributes when attributes may not
// change so, and Conflict with the id of the operation when one is running.
func (s *Service) Update(ctx context.Context, partition string, studies []string, change []byte) (string, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMWrite); err != nil {
		return "", err
	}
	part, err := s.partition(ctx, partition, false)
	if err != nil {
		return "", err
	}
	if len(studies) == 0 || len(studies) > maxUpdateStudies {
		return "", fault.New(fault.Invalid, "studyInstanceUids has 1 to %d studies.", maxUpdateStudies)
	}
	for i, u := range studies {
		if !dcm.CheckUID(u) || slices.Contains(studies[:i], u) {
			return "", fault.New(fault.Invalid, "studyInstanceUids has a UID that is not valid, or one twice.")
		}
	}
	d, err := dcm.ParseJSON(change)
	if err != nil {
		return "", fault.New(fault.Invalid, "changeDataset is not valid: %s.", err)
	}
	if len(d.Elements) == 0 {
		return "", fault.New(fault.Invalid, "changeDataset is empty.")
	}
	if err := checkChange(d); err != nil {
		return "", err
	}
	op, err := s.begin(ctx, s.newID(), OperationUpdate, updateInput{part, studies, change})
	if op == nil {
		return "", err
	}
	return op.ID, err
}

// checkChange refuses attributes that may not change, or not to these values.
func checkChange(d *dcm.Dataset) error {
	var bad []string
	for i := range d.Elements {
		e := &d.Elements[i]
		entry, _ := dcm.Lookup(e.Tag)
		var msg string
		switch {
		case !updatable[e.Tag]:
			msg = "The attribute cannot be updated."
		case entry.VR != e.VR:
			msg = "The VR of the attribute is " + entry.VRs + "."
		case e.Empty():
			msg = "The attribute needs a value."
		default:
			if err := d.Check(e); err != nil {
				msg = err.Error()
			}
		}
		if msg != "" {
			bad = append(bad, finding{e.Tag, msg}.comment())
		}
	}
	if bad != nil {
		return &FailedAttributes{bad}
	}
	return nil
}

// updateBatch is how many instances are changed between two notes of the progress.
const updateBatch = 20

// update changes a batch of instances.
func (s *Service) update(ctx context.Context, op *Operation) (bool, error) {
	var in updateInput
	var st updateState
	if err := decodeState(op, &in, &st); err != nil {
		return false, err
	}
	change, err := dcm.ParseJSON(in.Change)
	if err != nil {
		return false, fault.Wrap("dicom: update", err)
	}
	if st.Until == 0 {
		c, err := s.store.Latest(ctx, false)
		if err != nil {
			return false, err
		}
		if c == nil {
			st.Study = len(in.Studies) // nothing is stored at all
			st.Result.StudyProcessed = st.Study
		} else {
			st.Until = Version(c.Sequence)
		}
	}
	if st.Study < len(in.Studies) {
		if err := s.updateStudy(ctx, &in, &st, change); err != nil {
			return false, err
		}
	}
	op.Percent = 100 * st.Study / len(in.Studies)
	return st.Study >= len(in.Studies), encodeState(op, st, st.Result)
}

// updateStudy changes the next instances of the study that is worked on.
func (s *Service) updateStudy(ctx context.Context, in *updateInput, st *updateState, change *dcm.Dataset) error {
	u := UIDs{Study: in.Studies[st.Study]}
	list, err := s.store.List(ctx, in.Partition, u, st.After, updateBatch)
	if err != nil {
		return err
	}
	for _, old := range list {
		if old.Version > st.Until {
			list = nil // versions that this operation made
			break
		}
		st.After = old.Version
		err := s.updateInstance(ctx, in.Partition, old, change)
		switch {
		case err == nil:
			st.Result.InstanceUpdated++
		case fault.Is(err, fault.Conflict), fault.Is(err, fault.NotFound):
			// Somebody replaced or deleted it meanwhile.
		case fault.Is(err, fault.Transient), fault.Is(err, fault.Timeout), ctx.Err() != nil:
			return err
		default:
			st.Failed = true
			st.Result.Errors = append(st.Result.Errors, "An instance of the study "+u.Study+" cannot be updated: "+fault.From(err).Msg)
		}
	}
	if len(list) == updateBatch {
		return nil
	}
	st.Result.StudyProcessed++
	if st.Failed {
		st.Result.StudyFailed++
	} else if st.After > 0 {
		st.Result.StudyUpdated++
	}
	st.Study, st.After, st.Failed = st.Study+1, 0, false
	return nil
}

// updateInstance writes a changed version of an instance.
func (s *Service) updateInstance(ctx context.Context, part Partition, old *Instance, change *dcm.Dataset) error {
	release, err := s.budget.take(ctx, min(2*old.Location.Size, 2*s.cfg.SmallFile))
	if err != nil {
		return err
	}
	defer release()
	file, err := s.openFile(ctx, old, false, 0, -1)
	if err != nil {
		return err
	}
	f, err := dcm.Read(file, dcm.Limits{})
	_ = file.Close()
	if err != nil {
		return &fault.Error{Kind: fault.Internal, Op: "dicom: update", Msg: "the stored file cannot be read", Err: err}
	}
	f.Data.ToUTF8()
	for _, e := range change.Elements {
		f.Data.Put(e)
	}
	src := &rangeReader{ctx: ctx, s: s, in: old, deflated: f.Syntax.Deflated}
	defer src.close()
	write := func(w io.Writer) error {
		return dcm.Write(w, f, f.Syntax.UID, dcm.WriteOptions{Source: src, SourceBig: f.Syntax.BigEndian})
	}
	loc, k, err := s.put(ctx, old.Location.Size, write)
	if err != nil {
		return err
	}
	err = s.replace(ctx, part, old, loc)
	if errors.Is(err, ErrCondemned) {
		s.pack.abandon(k)
	}
	s.pack.finish(k, err == nil)
	return err
}

// put writes a file that is made by write: with others when it is small.
func (s *Service) put(ctx context.Context, size int64, write func(io.Writer) error) (Location, *pack, error) {
	if size <= s.cfg.SmallFile {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return Location{}, nil, err
		}
		w, err := s.pack.write(ctx, [][]byte{b.Bytes()}, nil)
		if err != nil {
			return Location{}, nil, err
		}
		return Location{Object: w.pack.object, Pos: w.pos, Size: int64(b.Len())}, w.pack, nil
	}
	n, err := s.object()
	if err != nil {
		return Location{}, nil, err
	}
	pr, pw := io.Pipe()
	k := s.pack.begin(n, 1)
	s.pack.seal(k)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_ = pw.CloseWithError(fault.Guard("dicom: update", func() error { return write(pw) })) // nil: the end of the file
	}()
	info, err := s.blobs.Put(ctx, objectKey(n), pr, blob.PutOptions{ContentType: "application/dicom"})
	_ = pr.CloseWithError(errors.New("the blob is not written any more"))
	<-wrote // what it reads belongs to the caller
	if err != nil {
		s.pack.finish(k, false)
		return Location{}, nil, err
	}
	return Location{Object: n, Size: info.Size}, k, nil
}

// replace reads a file that was written and puts it in the place of an instance.
func (s *Service) replace(ctx context.Context, part Partition, old *Instance, loc Location) error {
	file, err := s.open(ctx, loc, 0, -1)
	if err != nil {
		return err
	}
	defer file.Close()
	f, err := dcm.Read(file, dcm.Limits{})
	if err != nil {
		return &fault.Error{Kind: fault.Internal, Op: "dicom: update", Msg: "the changed file cannot be read", Err: err}
	}
	for _, b := range invalid(f.Data) {
		f.Data.Remove(b.tag)
	}
	rec := recordOf(f)
	rec.Location = loc
	return s.withTags(ctx, []*Record{rec}, func(tags int64) error { return s.store.Update(ctx, part, old, rec, tags) })
}
