package dicom

import (
	"context"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Workitem is one Unified Procedure Step of the worklist (PS3.4 annex CC).
type Workitem struct {
	UID         string
	State       WorkitemState
	Transaction string // the UID that its owner has to know; "" while nobody owns it
	Version     int64  // counts the changes of this work item
	Attrs       Attributes
	Values      []WorkitemValue // what it is found by
}

// WorkitemValue is a value that a work item is found by: Key is an index into
// WorkitemKeys, Value is normalised.
type WorkitemValue struct {
	Key   int
	Value string
}

// WorkitemState is the Procedure Step State.
type WorkitemState string

// The states (PS3.4 table CC.1.1-1).
const (
	WorkitemScheduled  WorkitemState = "SCHEDULED"
	WorkitemInProgress WorkitemState = "IN PROGRESS"
	WorkitemCompleted  WorkitemState = "COMPLETED"
	WorkitemCanceled   WorkitemState = "CANCELED"
)

// Worklist is the part of the store that keeps work items.
type Worklist interface {
	// AddWorkitem stores a new work item; Conflict when its UID is taken.
	AddWorkitem(ctx context.Context, part Partition, w *Workitem) error
	// Workitem returns one, without its Values; NotFound if it is not there.
	Workitem(ctx context.Context, part Partition, uid string) (*Workitem, error)
	// SetWorkitem replaces the version that w has and raises it; Conflict when
	// another version is there meanwhile.
	SetWorkitem(ctx context.Context, part Partition, w *Workitem) error
	// SearchWorkitems calls f for matches, newest first, until it has had Limit of
	// them, and reports whether there are more. key is what the next page begins after.
	SearchWorkitems(ctx context.Context, q *WorkitemQuery, f func(key int64, a Attributes) error) (more bool, err error)
}

const classUPSPush = "1.2.840.10008.5.1.4.34.6.1"

// The attributes of work items that the code knows.
const (
	tagAffectedSOPInstanceUID   dcm.Tag = 0x00001001
	tagModificationDateTime     dcm.Tag = 0x00404010
	tagProcedureStepState       dcm.Tag = 0x00741000
	tagProgressInformation      dcm.Tag = 0x00741002
	tagCommunicationsURI        dcm.Tag = 0x00741008
	tagContactURI               dcm.Tag = 0x0074100A
	tagContactDisplayName       dcm.Tag = 0x0074100C
	tagDiscontinuationReason    dcm.Tag = 0x0074100E
	tagCancellationDateTime     dcm.Tag = 0x00404052
	tagReasonForCancellation    dcm.Tag = 0x00741238
	tagWorklistLabel            dcm.Tag = 0x00741202
	tagCodeValue                dcm.Tag = 0x00080100
	tagCodingSchemeDesignator   dcm.Tag = 0x00080102
	tagCodeMeaning              dcm.Tag = 0x00080104
	defaultWorklistLabel                = "worklist"
	discontinuedForNoReason             = "110513" // DCM, CID 9300
	discontinuedForNoReasonName         = "Discontinued for unspecified reason"
)

// maxInlineWorkitem is the longest binary value of a work item.
const maxInlineWorkitem = 1 << 20

// The faults of the worklist. The codes are those of PS3.4 tables CC.2.1-2,
// CC.2.2-2, CC.2.5-4 and CC.2.6-2.
var (
	errNoWorkitem = fault.New(fault.NotFound, "The workitem instance is not found.")
	errUnclaimed  = fault.New(fault.Invalid, "The target URI did not reference a claimed Workitem.")
)

// Warning is a text that an answer carries besides its status, "" for none.
type Warning string

// The meanings of the codes of state changes.
var workitemCodes = map[string]string{
	"C300": "the workitem may no longer be updated",
	"C301": "the Transaction UID is not that of the workitem",
	"C302": "the workitem is in progress already",
	"C310": "the workitem is not in progress yet",
	"C311": "the workitem is completed already",
	"C312": "the workitem is in progress and its performer cannot be contacted",
}

func badTransition(kind fault.Kind, to WorkitemState, code string) error {
	return fault.New(kind, "The workitem instance can not transition to '%s' state: %s (%s).", to, code, workitemCodes[code])
}

// CreateWorkitem stores a work item of the data set in DICOM JSON and returns
// its UID: uid, or what the data set says. It is Conflict when there is one with
// that UID, Invalid when the data set breaks a rule (PS3.18 section 11.4).
func (s *Service) CreateWorkitem(ctx context.Context, partition, uid string, body []byte) (string, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMWrite); err != nil {
		return "", err
	}
	part, err := s.partition(ctx, partition, true)
	if err != nil {
		return "", err
	}
	d, err := parseWorkitem(body)
	if err != nil {
		return "", err
	}
	if uid, err = workitemUID(d, uid); err != nil {
		return "", err
	}
	if state := d.String(tagProcedureStepState); state != "" && state != string(WorkitemScheduled) {
		return "", invalid400("The workitem instance cannot be created: C309 (a new workitem is SCHEDULED).")
	}
	d.Put(dcm.NewText(dcm.TagSOPClassUID, dcm.UI, classUPSPush))
	d.Put(dcm.NewText(tagProcedureStepState, dcm.CS, string(WorkitemScheduled)))
	d.Put(dcm.NewText(tagModificationDateTime, dcm.DT, s.moment()))
	if d.String(tagWorklistLabel) == "" {
		d.Put(dcm.NewText(tagWorklistLabel, dcm.LO, defaultWorklistLabel))
	}
	if err := checkWorkitem(d, workitemRules(), true); err != nil {
		return "", err
	}
	w := &Workitem{UID: uid, State: WorkitemScheduled, Version: 1}
	w.set(d)
	err = s.store.AddWorkitem(ctx, part, w)
	if fault.Is(err, fault.Conflict) {
		err = fault.New(fault.Conflict, "The workitem instance already exists. Try creating using a different UID.")
	}
	return uid, err
}

// parseWorkitem reads the data set of a request. JSON is UTF-8 whatever the
// character set says.
func parseWorkitem(body []byte) (*dcm.Dataset, error) {
	d, err := dcm.ParseJSON(body)
	if err != nil {
		return nil, invalid400("The data set is not valid: %s.", err)
	}
	d.Remove(dcm.TagSpecificCharacterSet)
	return d, nil
}

// workitemUID settles the UID of a new work item: the URL and the data set may
// name it, but no two.
func workitemUID(d *dcm.Dataset, uid string) (string, error) {
	for _, t := range []dcm.Tag{dcm.TagSOPInstanceUID, tagAffectedSOPInstanceUID} {
		v := d.String(t)
		if v != "" && uid != "" && v != uid {
			return "", invalid400("SOPInstanceUID in the payload does not match the workitem query parameter.")
		}
		if v != "" {
			uid = v
		}
	}
	switch {
	case uid == "":
		return "", invalid400("The required tag '%s' is missing.", dcm.TagSOPInstanceUID)
	case !dcm.CheckUID(uid):
		return "", invalid400("The UID of the workitem is not valid.")
	}
	d.Put(dcm.NewText(dcm.TagSOPInstanceUID, dcm.UI, uid))
	return uid, nil
}

// set makes d the attributes of the work item. The Transaction UID is no part of
// them: it is the key of the owner.
func (w *Workitem) set(d *dcm.Dataset) {
	d.Remove(dcm.TagTransactionUID)
	w.Attrs = attributesWith(d, dcm.JSONOptions{Inline: maxInlineWorkitem})
	w.Values = workitemValues(d)
}

// dataset returns the attributes of the work item.
func (w *Workitem) dataset() (*dcm.Dataset, error) {
	d, err := dcm.ParseJSON(w.Attrs.AppendJSON(nil, ""))
	return d, fault.Wrap("dicom: workitem", err)
}

// moment is the time as DICOM writes it.
func (s *Service) moment() string { return time.Now().UTC().Format("20060102150405.000000") + "+0000" }

// Workitem appends a work item as a JSON object.
func (s *Service) Workitem(ctx context.Context, partition, uid string, dst []byte) ([]byte, error) {
	part, err := s.workitems(ctx, auth.DICOMRead, partition, uid)
	if err != nil {
		return nil, err
	}
	w, err := s.store.Workitem(ctx, part, uid)
	if err != nil {
		return nil, noWorkitem(err)
	}
	return w.Attrs.AppendJSON(dst, ""), nil
}

func (s *Service) workitems(ctx context.Context, a auth.Actions, partition, uid string) (Partition, error) {
	if err := s.guard.Authorize(ctx, a); err != nil {
		return 0, err
	}
	if !dcm.CheckUID(uid) {
		return 0, invalid400("The UID of the workitem is not valid.")
	}
	return s.partition(ctx, partition, false)
}

func noWorkitem(err error) error {
	if fault.Is(err, fault.NotFound) {
		return errNoWorkitem
	}
	return err
}

// workitemTries is how often a change begins again because somebody else was faster.
const workitemTries = 5

// changeWorkitem lets f change a work item. It is asked again when the work item
// was changed meanwhile, and stores nothing when it returns false.
func (s *Service) changeWorkitem(ctx context.Context, part Partition, uid string, f func(*Workitem) (bool, error)) error {
	for try := 0; ; try++ {
		w, err := s.store.Workitem(ctx, part, uid)
		if err != nil {
			return noWorkitem(err)
		}
		if change, err := f(w); err != nil || !change {
			return err
		}
		err = s.store.SetWorkitem(ctx, part, w)
		if !fault.Is(err, fault.Conflict) {
			return err
		}
		if try == workitemTries {
			return fault.New(fault.Conflict, "The workitem instance is currently being updated. Please try again later.")
		}
	}
}

// UpdateWorkitem changes attributes of a work item (PS3.18 section 11.6).
// transaction is needed exactly when it is in progress.
func (s *Service) UpdateWorkitem(ctx context.Context, partition, uid, transaction string, body []byte) error {
	part, err := s.workitems(ctx, auth.DICOMWrite, partition, uid)
	if err != nil {
		return err
	}
	change, err := parseWorkitem(body)
	if err != nil {
		return err
	}
	if v := change.String(dcm.TagTransactionUID); v != "" && transaction != "" && v != transaction {
		return invalid400("Invalid TransactionUID for the specified Workitem Instance UID.")
	} else if v != "" {
		transaction = v
	}
	change.Remove(dcm.TagTransactionUID)
	change.Put(dcm.NewText(tagModificationDateTime, dcm.DT, s.moment()))
	return s.changeWorkitem(ctx, part, uid, func(w *Workitem) (bool, error) {
		if err := w.mayUpdate(transaction); err != nil {
			return false, err
		}
		if err := checkWorkitem(change, workitemRules(), false); err != nil {
			return false, err
		}
		d, err := w.dataset()
		if err != nil {
			return false, err
		}
		for _, e := range change.Elements {
			d.Put(e)
		}
		w.set(d)
		return true, nil
	})
}

// mayUpdate says whether somebody with a transaction UID may update now.
func (w *Workitem) mayUpdate(transaction string) error {
	switch {
	case w.State == WorkitemScheduled && transaction != "":
		return invalid400("Invalid TransactionUID for the specified Workitem Instance UID.")
	case w.State == WorkitemInProgress && transaction != w.Transaction:
		return errUnclaimed
	case w.State == WorkitemCompleted:
		return invalid400("The submitted request is inconsistent with the current state of the Workitem. The UPS is already COMPLETED.")
	case w.State == WorkitemCanceled:
		return invalid400("The submitted request is inconsistent with the current state of the Workitem. The UPS is already in the requested state of CANCELED.")
	}
	return nil
}

// ChangeWorkitemState claims, completes or cancels a work item (PS3.18 section
// 11.7). The warning says that it was in that state already.
func (s *Service) ChangeWorkitemState(ctx context.Context, partition, uid string, body []byte) (warn Warning, err error) {
	part, err := s.workitems(ctx, auth.DICOMWrite, partition, uid)
	if err != nil {
		return "", err
	}
	d, err := parseWorkitem(body)
	if err != nil {
		return "", err
	}
	for _, t := range []dcm.Tag{dcm.TagTransactionUID, tagProcedureStepState} {
		switch {
		case d.Get(t) == nil:
			return "", invalid400("The required tag '%s' is missing.", t)
		case d.String(t) == "":
			return "", invalid400("The value for tag '%s' is missing.", t)
		}
	}
	if len(d.Elements) > 2 {
		return "", invalid400("A change of state has the tags '%s' and '%s' alone.", dcm.TagTransactionUID, tagProcedureStepState)
	}
	to, transaction := WorkitemState(d.String(tagProcedureStepState)), d.String(dcm.TagTransactionUID)
	switch {
	case to != WorkitemInProgress && to != WorkitemCompleted && to != WorkitemCanceled:
		return "", invalid400("Expected value '%s' to be one of the following values: [IN PROGRESS,CANCELED,COMPLETED]: C303.", tagProcedureStepState)
	case !dcm.CheckUID(transaction):
		return "", invalid400("The Transaction UID is not valid.")
	}
	err = s.changeWorkitem(ctx, part, uid, func(w *Workitem) (bool, error) {
		var code string
		if code, err = w.transition(to, transaction); err != nil {
			return false, err
		}
		if code != "" {
			warn = Warning("The workitem instance is already in the final state '" + string(to) + "'. " + code + ".")
			return false, nil
		}
		return true, w.enter(to, transaction, s.moment())
	})
	return warn, err
}

// transition is table CC.1.1-2 of PS3.4 for changes by the owner. The code is a
// warning: nothing is to be done.
func (w *Workitem) transition(to WorkitemState, transaction string) (code string, err error) {
	claiming := w.State == WorkitemScheduled && to == WorkitemInProgress
	switch {
	case !claiming && transaction != w.Transaction:
		return "", badTransition(fault.Invalid, to, "C301")
	case claiming, w.State == WorkitemInProgress && to != WorkitemInProgress:
		return "", nil
	case w.State == to && to == WorkitemCompleted:
		return "B306", nil
	case w.State == to && to == WorkitemCanceled:
		return "B304", nil
	case w.State == to:
		return "", badTransition(fault.Invalid, to, "C302")
	}
	return "", badTransition(fault.Invalid, to, "C300")
}

// enter brings a work item into a state, if it has what that state wants.
func (w *Workitem) enter(to WorkitemState, transaction, now string) error {
	d, err := w.dataset()
	if err != nil {
		return err
	}
	d.Put(dcm.NewText(tagProcedureStepState, dcm.CS, string(to)))
	d.Put(dcm.NewText(tagModificationDateTime, dcm.DT, now))
	if to == WorkitemCanceled {
		stampCancellation(d, now)
	}
	if to == WorkitemCanceled || to == WorkitemCompleted {
		if err := checkFinal(d, workitemRules(), to); err != nil {
			return err
		}
	}
	w.State, w.Transaction = to, transaction
	w.set(d)
	return nil
}

// stampCancellation sets the time of the cancellation where the owner left it open.
func stampCancellation(d *dcm.Dataset, now string) {
	e := d.Get(tagProgressInformation)
	if e == nil {
		return
	}
	for _, item := range e.Items {
		if item.String(tagCancellationDateTime) == "" {
			item.Put(dcm.NewText(tagCancellationDateTime, dcm.DT, now))
		}
	}
}

// cancelTags are what a request to cancel may say (PS3.4 table CC.2.2-1).
var cancelTags = tagSet(tagReasonForCancellation, tagDiscontinuationReason, tagContactURI, tagContactDisplayName)

// RequestCancellation cancels a work item that nobody owns (PS3.18 section
// 11.8); body may be empty. It is Conflict in every other state, because owners
// cannot be told; the message is a warning too.
func (s *Service) RequestCancellation(ctx context.Context, partition, uid string, body []byte) error {
	part, err := s.workitems(ctx, auth.DICOMWrite, partition, uid)
	if err != nil {
		return err
	}
	why := &dcm.Dataset{}
	if len(strings.TrimSpace(string(body))) > 0 {
		if why, err = parseWorkitem(body); err != nil {
			return err
		}
	}
	now := s.moment()
	progress, err := cancellation(why, now)
	if err != nil {
		return err
	}
	return s.changeWorkitem(ctx, part, uid, func(w *Workitem) (bool, error) {
		switch w.State {
		case WorkitemInProgress:
			return false, badTransition(fault.Conflict, WorkitemCanceled, "C312")
		case WorkitemCompleted:
			return false, badTransition(fault.Conflict, WorkitemCanceled, "C311")
		case WorkitemCanceled:
			return false, fault.New(fault.Conflict, "The UPS is already in the requested state of CANCELED.")
		}
		d, err := w.dataset()
		if err != nil {
			return false, err
		}
		d.Put(dcm.Element{Tag: tagProgressInformation, VR: dcm.SQ, Items: []*dcm.Dataset{progress}})
		w.set(d)
		return true, w.enter(WorkitemCanceled, "", now)
	})
}

// cancellation is the item of the progress information for a request to cancel.
func cancellation(why *dcm.Dataset, now string) (*dcm.Dataset, error) {
	item, contact := &dcm.Dataset{}, &dcm.Dataset{}
	for i := range why.Elements {
		e := why.Elements[i]
		switch {
		case !cancelTags[e.Tag]:
			return nil, invalid400("The attribute with tag '%s' is no part of a request to cancel.", e.Tag)
		case e.Empty():
		case e.Tag == tagContactURI, e.Tag == tagContactDisplayName:
			contact.Put(e)
		default:
			item.Put(e)
		}
	}
	if contact.Get(tagContactDisplayName) != nil && contact.Get(tagContactURI) == nil {
		return nil, invalid400("The required tag '%s' is missing.", tagContactURI)
	}
	if len(contact.Elements) > 0 {
		item.Put(dcm.Element{Tag: tagCommunicationsURI, VR: dcm.SQ, Items: []*dcm.Dataset{contact}})
	}
	if item.Get(tagDiscontinuationReason) == nil {
		code := &dcm.Dataset{}
		code.Put(dcm.NewText(tagCodeValue, dcm.SH, discontinuedForNoReason))
		code.Put(dcm.NewText(tagCodingSchemeDesignator, dcm.SH, "DCM"))
		code.Put(dcm.NewText(tagCodeMeaning, dcm.LO, discontinuedForNoReasonName))
		item.Put(dcm.Element{Tag: tagDiscontinuationReason, VR: dcm.SQ, Items: []*dcm.Dataset{code}})
	}
	item.Put(dcm.NewText(tagCancellationDateTime, dcm.DT, now))
	return item, checkWorkitem(item, progressRules(), false)
}

// progressRules are the rules for an item of the progress information.
func progressRules() []attributeRule {
	for _, r := range workitemRules() {
		if r.tag == tagProgressInformation {
			return r.items
		}
	}
	return nil
}
