package patch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/patch"
	"github.com/hygeia-health/hygeia/spec/profile"
	"github.com/hygeia-health/hygeia/spec/resource"
)

var fixed = []string{"resourceType", "id", "meta.versionId", "meta.lastUpdated"}

func parse(t testing.TB, s string) resource.Node {
	t.Helper()
	d := new(resource.Doc)
	if err := d.Parse([]byte(s), resource.Options{}); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return d.Root()
}

func applyJSON(t testing.TB, doc, ops string) (string, error) {
	t.Helper()
	p, err := patch.ParseJSON(parse(t, ops))
	if err != nil {
		return "", err
	}
	out, err := p.Apply([]byte("prefix "), parse(t, doc), patch.Options{Fixed: fixed})
	return trimmed(t, out), err
}

func applyFHIR(t testing.TB, doc, params string) (string, error) {
	t.Helper()
	p, err := patch.ParseFHIRPath(parse(t, params))
	if err != nil {
		return "", err
	}
	out, err := p.Apply([]byte("prefix "), parse(t, doc), patch.Options{Fixed: fixed})
	return trimmed(t, out), err
}

// trimmed checks that Apply appends.
func trimmed(t testing.TB, out []byte) string {
	t.Helper()
	s, ok := strings.CutPrefix(string(out), "prefix ")
	if !ok {
		t.Fatalf("Apply lost what was there: %s", out)
	}
	return s
}

// ops makes a Parameters resource. Each operation is written "type path", or
// "type path name", and then parts in JSON.
func ops(list ...string) string {
	var b strings.Builder
	for i, op := range list {
		head, parts, _ := strings.Cut(op, " | ")
		f := strings.SplitN(head, " ", 3)
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"operation","part":[{"name":"type","valueCode":%q},{"name":"path","valueString":%q}`, f[0], f[1])
		if len(f) > 2 {
			fmt.Fprintf(&b, `,{"name":"name","valueString":%q}`, f[2])
		}
		if parts != "" {
			b.WriteString("," + parts)
		}
		b.WriteString("]}")
	}
	return `{"resourceType":"Parameters","parameter":[` + b.String() + `]}`
}

func val(s string) string { return `{"name":"value",` + s + `}` }

const pat = `{"resourceType":"Patient","id":"p1","meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z"},` +
	`"name":[{"use":"official","family":"Chalmers","given":["Peter","James"]},{"use":"usual","given":["Jim"]}],"gender":"male","birthDate":"1974-12-25","_birthDate":{"extension":[{"url":"http://x.org/time","valueTime":"14:35:00"}]},"multipleBirthInteger":2}`

// swap is pat with parts replaced: old, new, ...
func swap(pairs ...string) string {
	s := pat
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			panic(pairs[i])
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

func TestJSON(t *testing.T) {
	tests := []struct{ name, doc, ops, want string }{
		{"Nothing", `{ "a" : 0.10 , "b":"\u00e9" }`, `[]`, `{"a":0.10,"b":"\u00e9"}`},
		{"KeepsTheRest", `{"a":1.50,"b":[1, 2],"c":"\u00e9"}`, `[{"op":"replace","path":"/b/0","value":100000000000000000000.0}]`, `{"a":1.50,"b":[100000000000000000000.0,2],"c":"\u00e9"}`},
		{"AddMember", `{"a":1}`, `[{"op":"add","path":"/b","value":{"c" : 1}}]`, `{"a":1,"b":{"c":1}}`},
		{"AddReplacesInPlace", `{"a":1,"b":2}`, `[{"op":"add","path":"/a","value":null}]`, `{"a":null,"b":2}`},
		{"Append", `{"a":[1]}`, `[{"op":"add","path":"/a/-","value":2},{"op":"add","path":"/a/2","value":3}]`, `{"a":[1,2,3]}`},
		{"InsertFirst", `{"a":[1]}`, `[{"op":"add","path":"/a/0","value":2}]`, `{"a":[2,1]}`},
		{"NewArray", `{}`, `[{"op":"add","path":"/a","value":[]},{"op":"add","path":"/a/0","value":{"b":1}}]`, `{"a":[{"b":1}]}`},
		{"Escapes", `{"a/b":{"m~n":1},"~1":2}`, `[{"op":"replace","path":"/a~1b/m~0n","value":3},{"op":"remove","path":"/~01"}]`, `{"a/b":{"m~n":3}}`},
		{"EmptyName", `{"":1}`, `[{"op":"replace","path":"/","value":2}]`, `{"":2}`},
		{"Root", `{"a":1}`, `[{"op":"test","path":"","value":{"a":1.0}},{"op":"replace","path":"","value":{"b":2}}]`, `{"b":2}`},
		{"Move", `{"a":{"b":1},"c":[5]}`, `[{"op":"move","from":"/a/b","path":"/c/0"}]`, `{"a":{},"c":[1,5]}`},
		{"MoveInArray", `{"a":[1,2,3]}`, `[{"op":"move","from":"/a/0","path":"/a/2"}]`, `{"a":[2,3,1]}`},
		{"MoveToItself", `{"a":1}`, `[{"op":"move","from":"/a","path":"/a"}]`, `{"a":1}`},
		{"CopyIsAnother", `{"a":{"b":[1]}}`, `[{"op":"add","path":"/a/b/-","value":2},{"op":"copy","from":"/a","path":"/c"},{"op":"remove","path":"/c/b/0"}]`, `{"a":{"b":[1,2]},"c":{"b":[2]}}`},
		{"ValueUsedTwice", `{"a":[]}`, `[{"op":"add","path":"/a/-","value":{"x":[]}},{"op":"add","path":"/a/0/x/-","value":1}]`, `{"a":[{"x":[1]}]}`},
		{"TestNumbers", `{"a":[1,1.0,100,0.1,-0,1e400]}`, `[{"op":"test","path":"/a","value":[1.000,10e-1,1E2,1e-1,0.0,1e400]}]`, `{"a":[1,1.0,100,0.1,-0,1e400]}`},
		{"TestOrder", `{"a":{"x":1,"y":"\u0041"}}`, `[{"op":"test","path":"/a","value":{"y":"A","x":1}}]`, `{"a":{"x":1,"y":"\u0041"}}`},
		{"MoreMembersAreIgnored", `{}`, `[{"op":"add","path":"/a","value":1,"comment":"x","from":7}]`, `{"a":1}`},
		{"FixedMayBeTested", pat, `[{"op":"test","path":"/meta/versionId","value":"3"},{"op":"replace","path":"/id","value":"p1"}]`, pat},
		{"MetaBesideFixed", pat, `[{"op":"add","path":"/meta/tag","value":[{"code":"x"}]}]`, swap(`00:00Z"}`, `00:00Z","tag":[{"code":"x"}]}`)},
		{"Choice", pat, `[{"op":"add","path":"/multipleBirthBoolean","value":true},{"op":"remove","path":"/multipleBirthInteger"}]`, swap(`"multipleBirthInteger":2`, `"multipleBirthBoolean":true`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := applyJSON(t, tt.doc, tt.ops)
			if err != nil || got != tt.want {
				t.Errorf("got  %s %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestJSONErrors(t *testing.T) {
	const doc = `{"resourceType":"Patient","id":"p1","meta":{"versionId":"3"},"name":[{"family":"A"}],"active":true}`
	tests := []struct{ name, ops, want string }{
		{"NotAnArray", `{}`, "a JSON Patch is an array of operations (RFC 6902), not a object"},
		{"NotAnObject", `[1]`, "patch operation 0: an operation is an object, not a number"},
		{"NoOp", `[{"path":"/a"}]`, "patch operation 0: the operation has no op"},
		{"UnknownOp", `[{"op":"remove","path":"/active"},{"op":"coo","path":"/gender"}]`, "patch operation 1 (coo): unknown operation; there are add, remove, replace, move, copy and test"},
		{"NoPath", `[{"op":"replace","value":1}]`, "patch operation 0 (replace): the operation has no path"},
		{"PathNumber", `[{"op":"replace","path":1,"value":1}]`, "path must be a string, not a number"},
		{"NoSlash", `[{"op":"remove","path":"name"}]`, "patch operation 0 (remove name): a JSON pointer is empty or begins with a slash"},
		{"BadEscape", `[{"op":"remove","path":"/na~2me"}]`, "~ is written ~0"},
		{"NoValue", `[{"op":"add","path":"/a"}]`, "add needs a value"},
		{"NoFrom", `[{"op":"move","path":"/a"}]`, "the operation has no from"},
		{"BadFrom", `[{"op":"copy","path":"/a","from":"b"}]`, "from: a JSON pointer"},
		{"NothingToRemove", `[{"op":"remove","path":"/gender"}]`, "patch operation 0 (remove /gender): there is no /gender"},
		{"NothingToReplace", `[{"op":"replace","path":"/name/1","value":1}]`, "there is no /name/1: the array has 1 items"},
		{"NoParent", `[{"op":"add","path":"/contact/0/gender","value":1}]`, "there is no /contact"},
		{"BelowPrimitive", `[{"op":"add","path":"/active/x","value":1}]`, "/active is a boolean and has no members"},
		{"DeepBelowPrimitive", `[{"op":"add","path":"/active/x/y","value":1}]`, "there is no /active/x: /active is a boolean"},
		{"LeadingZero", `[{"op":"remove","path":"/name/00"}]`, `"00" is no index`},
		{"BeyondEnd", `[{"op":"add","path":"/name/2","value":{}}]`, "the index 2 is beyond the end"},
		{"HugeIndex", `[{"op":"add","path":"/name/99999999999999999999999","value":{}}]`, "beyond the end"},
		{"NameAsIndex", `[{"op":"add","path":"/name/x","value":{}}]`, `"x" is no index`},
		{"RemoveEnd", `[{"op":"remove","path":"/name/-"}]`, "there is no /name/-"},
		{"IntoItself", `[{"op":"move","from":"/name","path":"/name/0/x"}]`, "cannot be moved into itself"},
		{"MoveNothing", `[{"op":"move","from":"/x","path":"/y"}]`, "from: there is no /x"},
		{"RemoveRoot", `[{"op":"remove","path":""}]`, "the whole resource cannot be removed"},
		{"TestFails", `[{"op":"test","path":"/active","value":false}]`, "patch operation 0 (test /active): the test failed"},
		{"TestType", `[{"op":"test","path":"/active","value":"true"}]`, "the test failed"},
		{"TestNothing", `[{"op":"test","path":"/gender","value":null}]`, "there is no /gender"},
		{"ID", `[{"op":"replace","path":"/id","value":"x"}]`, "patch operation 0 (replace /id): id is immutable"},
		{"NoID", `[{"op":"remove","path":"/id"}]`, "id is immutable"},
		{"Version", `[{"op":"test","path":"/active","value":true},{"op":"replace","path":"/meta/versionId","value":"4"}]`, "patch operation 1 (replace /meta/versionId): meta.versionId is immutable"},
		{"Meta", `[{"op":"replace","path":"/meta","value":{"tag":[]}}]`, "meta.versionId is immutable"},
		{"LastUpdated", `[{"op":"add","path":"/meta/lastUpdated","value":"2020-01-01T00:00:00Z"}]`, "meta.lastUpdated is immutable"},
		{"Type", `[{"op":"replace","path":"/resourceType","value":"Group"}]`, "resourceType is immutable"},
		{"Root", `[{"op":"replace","path":"","value":{"resourceType":"Patient"}}]`, "id is immutable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := applyJSON(t, doc, tt.ops)
			wantError(t, err, got, tt.want)
		})
	}
}

func wantError(t *testing.T, err error, got, want string) {
	t.Helper()
	pe, ok := errors.AsType[*patch.Error](err)
	if !ok {
		t.Fatalf("got %s %v, want an *Error: %s", got, err, want)
	}
	if !strings.Contains(pe.Error(), want) {
		t.Errorf("got  %s\nwant %s", pe, want)
	}
	if pe.Code == "" {
		t.Error("no code")
	}
	if got != "" {
		t.Errorf("text beside an error: %s", got)
	}
}

func TestFHIRPath(t *testing.T) {
	const family = `"family":"Chalmers"`
	tests := []struct{ name, ops, want string }{
		{"Replace", ops(`replace Patient.gender | ` + val(`"valueCode":"female"`)), swap(`"male"`, `"female"`)},
		{"ReplaceByWhere", ops(`replace Patient.name.where(use='official').family | ` + val(`"valueString":"X"`)), swap(`"Chalmers"`, `"X"`)},
		{"ReplaceWithoutType", ops(`replace gender | ` + val(`"valueString":"female"`)), swap(`"male"`, `"female"`)},
		{"ReplaceItem", ops(`replace Patient.name[0].given[1] | ` + val(`"valueString":"Jay"`)), swap(`"James"`, `"Jay"`)},
		{"ReplaceDropsExtensions", ops(`replace Patient.birthDate | ` + val(`"valueDate":"1980-01-01"`)), swap(`"1974-12-25","_birthDate":{"extension":[{"url":"http://x.org/time","valueTime":"14:35:00"}]}`, `"1980-01-01"`)},
		{"ReplaceWithExtension", ops(`replace Patient.gender | ` + val(`"valueCode":"other","_valueCode":{"id":"g"}`)), swap(`"gender":"male"`, `"gender":"other","_gender":{"id":"g"}`)},
		{"ReplaceByNoValue", ops(`replace Patient.gender | ` + val(`"_valueCode":{"extension":[{"url":"u","valueCode":"unknown"}]}`)), swap(`"gender":"male",`, ``, `":2}`, `":2,"_gender":{"extension":[{"url":"u","valueCode":"unknown"}]}}`)},
		{"ChoiceType", ops(`replace Patient.multipleBirth | ` + val(`"valueBoolean":true`)), swap(`"multipleBirthInteger":2`, `"multipleBirthBoolean":true`)},
		{"AddPrimitive", ops(`add Patient active | ` + val(`"valueBoolean":true`)), swap(`":2}`, `":2,"active":true}`)},
		{"AddChoice", ops(`add Patient deceased | ` + val(`"valueDateTime":"2015-02-14T13:42:00+10:00"`)), swap(`":2}`, `":2,"deceasedDateTime":"2015-02-14T13:42:00+10:00"}`)},
		{"AddToList", ops(`add Patient.name[1] given | ` + val(`"valueString":"J"`)), swap(`["Jim"]`, `["Jim","J"]`)},
		{"AddToListWithExtension", ops(`add Patient.name[1] given | ` + val(`"valueString":"J","_valueString":{"id":"x"}`)), swap(`["Jim"]`, `["Jim","J"],"_given":[null,{"id":"x"}]`)},
		{"AddObject", ops(`add Patient maritalStatus | ` + val(`"valueCodeableConcept":{"text" : "M"}`)), swap(`":2}`, `":2,"maritalStatus":{"text":"M"}}`)},
		{"AddBackbone", ops(`add Patient contact | ` + val(`"part":[{"name":"name","valueHumanName":{"text":"a name"}},{"name":"gender","valueCode":"male"},{"name":"relationship","valueCodeableConcept":{"text":"1"}},{"name":"relationship","valueCodeableConcept":{"text":"2"}}]`)),
			swap(`":2}`, `":2,"contact":[{"name":{"text":"a name"},"gender":"male","relationship":[{"text":"1"},{"text":"2"}]}]}`)},
		{"AddPartsOfDataType", ops(`add Patient.meta tag | ` + val(`"part":[{"name":"system","valueUri":"urn:s"},{"name":"code","valueCode":"c"}]`)), swap(`00:00Z"}`, `00:00Z","tag":[{"system":"urn:s","code":"c"}]}`)},
		{"NestedParts", ops(`add Patient contact | ` + val(`"part":[{"name":"name","part":[{"name":"given","valueString":"a"},{"name":"given","valueString":"b","_valueString":{"id":"i"}}]}]`)), swap(`":2}`, `":2,"contact":[{"name":{"given":["a","b"],"_given":[null,{"id":"i"}]}}]}`)},
		{"AddResource", ops(`add Patient contained | ` + val(`"resource":{"resourceType":"Organization","id":"o","name":"O"}`)), swap(`":2}`, `":2,"contained":[{"resourceType":"Organization","id":"o","name":"O"}]}`)},
		{"AddExtensionToPrimitive", ops(`add Patient.birthDate extension | ` + val(`"part":[{"name":"url","valueUri":"u"},{"name":"value","valueCode":"c"}]`)), swap(`"14:35:00"}]`, `"14:35:00"},{"url":"u","valueCode":"c"}]`)},
		{"AddFirstExtensionToItem", ops(`add Patient.name[0].given[1] extension | ` + val(`"part":[{"name":"url","valueUri":"u"},{"name":"value","valueCode":"c"}]`)), swap(`["Peter","James"]`, `["Peter","James"],"_given":[null,{"extension":[{"url":"u","valueCode":"c"}]}]`)},
		{"DeleteExtensionOfPrimitive", ops(`delete Patient.birthDate.extension('http://x.org/time')`), swap(`,"_birthDate":{"extension":[{"url":"http://x.org/time","valueTime":"14:35:00"}]}`, ``)},
		{"ReplaceInExtension", ops(`replace Patient.birthDate.extension.value | ` + val(`"valueString":"noon"`)), swap(`"valueTime":"14:35:00"`, `"valueString":"noon"`)},
		{"Insert", ops(`insert Patient.name | {"name":"index","valueInteger":0},` + val(`"valueHumanName":{"text":"first"}`)), swap(`"name":[`, `"name":[{"text":"first"},`)},
		{"InsertLast", ops(`insert Patient.name[0].given | {"name":"index","valueInteger":2},` + val(`"valueString":"Z"`)), swap(`"James"`, `"James","Z"`)},
		{"InsertIntoEmpty", ops(`insert Patient.name[0].suffix | {"name":"index","valueInteger":0},` + val(`"valueString":"Jr"`)), swap(`"James"]`, `"James"],"suffix":["Jr"]`)},
		{"InsertByName", ops(`insert name | {"name":"index","valueInteger":2},` + val(`"valueHumanName":{"text":"last"}`)), swap(`["Jim"]}`, `["Jim"]},{"text":"last"}`)},
		{"Move", ops(`move Patient.name[0].given | {"name":"source","valueInteger":1},{"name":"destination","valueInteger":0}`), swap(`"Peter","James"`, `"James","Peter"`)},
		{"DeleteElement", ops(`delete Patient.gender`), swap(`"gender":"male",`, ``)},
		{"DeleteWithExtensions", ops(`delete Patient.birthDate`), swap(`"birthDate":"1974-12-25","_birthDate":{"extension":[{"url":"http://x.org/time","valueTime":"14:35:00"}]},`, ``)},
		{"DeleteItem", ops(`delete Patient.name[0].given[0]`), swap(`"Peter",`, ``)},
		{"DeleteLastItemAndParents", ops(`delete Patient.name[1].use`, `delete Patient.name[1].given[0]`), swap(`,{"use":"usual","given":["Jim"]}`, ``)},
		{"DeleteByFilter", ops(`delete Patient.name.where(use='usual')`), swap(`,{"use":"usual","given":["Jim"]}`, ``)},
		{"DeleteNothing", ops(`delete Patient.maritalStatus`, `delete Patient.contact[7].name.family`), pat},
		{"Upsert", ops(`upsert Patient gender | `+val(`"valueCode":"female"`), `upsert Patient active | `+val(`"valueBoolean":false`)), swap(`"male"`, `"female"`, `":2}`, `":2,"active":false}`)},
		{"OneAfterTheOther", ops(`add Patient contact | `+val(`"part":[{"name":"gender","valueCode":"male"}]`), `add Patient.contact[0] name | `+val(`"valueHumanName":{`+family+`}`), `replace Patient.contact[0].name.family | `+val(`"valueString":"Y"`)), swap(`":2}`, `":2,"contact":[{"gender":"male","name":{"family":"Y"}}]}`)},
		{"SameID", ops(`replace Patient.id | ` + val(`"valueId":"p1"`)), pat},
		{"ResourceAsType", ops(`add Resource.meta source | ` + val(`"valueUri":"urn:x"`)), swap(`00:00Z"}`, `00:00Z","source":"urn:x"}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if issues := profile.Check(parse(t, tt.ops), "Parameters"); issues != nil {
				t.Fatalf("the patch is not valid: %v", issues)
			}
			got, err := applyFHIR(t, pat, tt.ops)
			if err != nil || got != tt.want {
				t.Fatalf("got  %s %v\nwant %s", got, err, tt.want)
			}
			if issues := profile.Check(parse(t, got), "Patient"); issues != nil {
				t.Errorf("the result is not valid: %v", issues)
			}
		})
	}
}

func TestFHIRPathErrors(t *testing.T) {
	part := func(parts string) string {
		return `{"resourceType":"Parameters","parameter":[{"name":"operation","part":[` + parts + `]}]}`
	}
	tests := []struct{ name, ops, want string }{
		{"NotParameters", pat, "a FHIRPath Patch is a Parameters resource"},
		{"OtherElement", `{"resourceType":"Parameters","implicitRules":"urn:x"}`, `cannot have the element "implicitRules"`},
		{"OtherName", `{"resourceType":"Parameters","parameter":[{"name":"op"}]}`, "named operation"},
		{"NoType", part(`{"name":"path","valueString":"Patient"}`), "the part type is missing"},
		{"UnknownType", ops(`coo Patient.gender | ` + val(`"valueCode":"x"`)), "patch operation 0 (coo): unknown operation"},
		{"NoPath", part(`{"name":"type","valueCode":"replace"},` + val(`"valueCode":"x"`)), "replace needs the part path"},
		{"NoValue", ops(`replace Patient.gender`), "replace needs the part value"},
		{"EmptyValue", ops(`replace Patient.gender | {"name":"value"}`), "part value: a value is missing"},
		{"NoName", ops(`add Patient | ` + val(`"valueCode":"x"`)), "add needs the part name"},
		{"NoIndex", ops(`insert Patient.name | ` + val(`"valueHumanName":{"text":"x"}`)), "insert needs the part index"},
		{"NegativeIndex", ops(`insert Patient.name | {"name":"index","valueInteger":-1},` + val(`"valueHumanName":{"text":"x"}`)), "index must be an integer from 0"},
		{"UselessPart", ops(`delete Patient.name[0] | ` + val(`"valueCode":"x"`)), `delete has no use for the part "value"`},
		{"PartTwice", ops(`delete Patient.name[0] | {"name":"path","valueString":"Patient.gender"}`), `the part "path" is there twice`},
		{"TwoValues", ops(`replace Patient.gender | ` + val(`"valueCode":"x","valueString":"y"`)), "only one value"},
		{"BadPath", ops(`delete Patient.name[`), "the path is not a FHIRPath expression"},
		{"UnknownElement", ops(`replace Patient.nick | ` + val(`"valueString":"x"`)), `patch operation 0 (replace Patient.nick): Patient has no element "nick"`},
		{"UnknownDeep", ops(`delete Patient.name.famly`), `HumanName has no element "famly"`},
		{"UnknownAbove", ops(`delete Patient.nick.family`), `Patient has no element "nick"`},
		{"ChoiceByJSONName", ops(`replace Patient.multipleBirthInteger | ` + val(`"valueInteger":3`)), `in FHIRPath it is "multipleBirth"`},
		{"AddUnknown", ops(`add Patient dummyProperty | ` + val(`"valueString":"x"`)), `Patient has no element "dummyProperty"`},
		{"OtherResource", ops(`delete Observation.status`), "the resource is no Observation"},
		{"NotThere", ops(`replace Patient.maritalStatus | ` + val(`"valueCodeableConcept":{"text":"x"}`)), "the path leads to no element"},
		{"Several", ops(`replace Patient.name.use | ` + val(`"valueCode":"old"`)), "the path leads to 2 elements; it must lead to one"},
		{"DeleteSeveral", ops(`delete Patient.name`), "leads to 2 elements; only a single one can be deleted"},
		{"Computed", ops(`replace Patient.name.count() | ` + val(`"valueInteger":3`)), "not to computed values"},
		{"TheResource", ops(`replace Patient | ` + val(`"resource":`+pat)), "the path leads to the resource itself"},
		{"DeleteResource", ops(`delete Patient`), "the path leads to the resource itself"},
		{"AddToFilled", ops(`add Patient gender | ` + val(`"valueCode":"male"`)), "Patient.gender is there already"},
		{"AddOtherChoice", ops(`add Patient multipleBirth | ` + val(`"valueBoolean":true`)), "is there already"},
		{"WrongType", ops(`replace Patient.gender | ` + val(`"valueBoolean":true`)), "Patient.gender cannot be a boolean: it is a code"},
		{"WrongComplex", ops(`add Patient name | ` + val(`"valueAddress":{"text":"x"}`)), "Patient.name cannot be a Address: it is a HumanName"},
		{"WrongChoice", ops(`replace Patient.multipleBirth | ` + val(`"valueString":"x"`)), "cannot be a string: it is a boolean or integer"},
		{"ChoiceByParts", ops(`replace Patient.multipleBirth | ` + val(`"part":[{"name":"x","valueString":"y"}]`)), "may have several types"},
		{"PrimitiveByParts", ops(`replace Patient.gender | ` + val(`"part":[{"name":"x","valueString":"y"}]`)), "is a code and has no parts"},
		{"UnknownPart", ops(`add Patient link | ` + val(`"part":[{"name":"value","valueCode":"replaced-by"}]`)), `Patient.link has no element "value"`},
		{"PartOnlyOnce", ops(`add Patient link | ` + val(`"part":[{"name":"type","valueCode":"refer"},{"name":"type","valueCode":"refer"}]`)), "may appear once only"},
		{"InsertSingle", ops(`insert Patient.gender | {"name":"index","valueInteger":0},` + val(`"valueCode":"x"`)), "Patient.gender is no list"},
		{"InsertBeyond", ops(`insert Patient.name | {"name":"index","valueInteger":3},` + val(`"valueHumanName":{"text":"x"}`)), "the index 3 is beyond the end of the list, which has 2 elements"},
		{"InsertPart", ops(`insert Patient.name.where(use='usual') | {"name":"index","valueInteger":0},` + val(`"valueHumanName":{"text":"x"}`)), "must end with the name of a list"},
		{"InsertTwoLists", ops(`insert Patient.name.given | {"name":"index","valueInteger":0},` + val(`"valueString":"x"`)), "leads to 2 elements"},
		{"MoveBeyond", ops(`move Patient.name | {"name":"source","valueInteger":0},{"name":"destination","valueInteger":2}`), "the destination 2 is beyond the end"},
		{"UpsertSeveral", ops(`upsert Patient name | ` + val(`"valueHumanName":{"text":"x"}`)), "there are 2 elements Patient.name"},
		{"ID", ops(`replace Patient.id | ` + val(`"valueId":"x"`)), "patch operation 0 (replace Patient.id): id is immutable"},
		{"Version", ops(`delete Patient.meta.versionId`), "meta.versionId is immutable"},
		{"Meta", ops(`delete Patient.meta`), "meta.versionId is immutable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := applyFHIR(t, pat, tt.ops)
			wantError(t, err, got, tt.want)
		})
	}
}

// TestErrorPlace checks where an OperationOutcome can point to.
func TestErrorPlace(t *testing.T) {
	_, err := applyFHIR(t, pat, ops(`delete Patient.gender`, `delete Patient.name`))
	pe, _ := errors.AsType[*patch.Error](err)
	if pe == nil || pe.At != "Parameters.parameter[1]" || pe.Index != 1 || pe.Op != "delete" || pe.Path != "Patient.name" {
		t.Errorf("%+v", pe)
	}
	_, err = applyFHIR(t, pat, ops(`delete Patient.id`))
	if pe, _ = errors.AsType[*patch.Error](err); pe == nil || pe.At != "Patient.id" {
		t.Errorf("%+v", pe)
	}
}

// TestLimits: small patches must not make large results.
func TestLimits(t *testing.T) {
	double := `[{"op":"add","path":"/a","value":"0123456789"}` + strings.Repeat(`,{"op":"copy","from":"","path":"/a"},{"op":"copy","from":"","path":"/b"}`, 40) + `]`
	deeper := `[{"op":"add","path":"/a","value":{}}`
	at := "/a"
	for range 120 {
		at += "/a"
		deeper += `,{"op":"add","path":"` + at + `","value":{}}`
	}
	deeper += "]"
	wide := `[{"op":"add","path":"/a","value":[` + strings.Repeat("1,", 20_000) + `1]}` + strings.Repeat(`,{"op":"add","path":"/a/0","value":1}`, 9_998) + `]`
	fan := `[{"op":"add","path":"/a","value":[1,2,3,4,5,6,7,8,9]}` + strings.Repeat(`,{"op":"copy","from":"/a","path":"/a/0"}`, 80) + `]`
	many := "[" + strings.Repeat(`{"op":"test","path":"","value":1},`, 10_000) + `{"op":"test","path":"","value":1}]`
	for name, ops := range map[string]string{"Double": double, "Deeper": deeper, "Wide": wide, "Fan": fan, "Many": many} {
		t.Run(name, func(t *testing.T) {
			var got []byte
			p, err := patch.ParseJSON(parse(t, ops))
			if err == nil {
				got, err = p.Apply(nil, parse(t, `{}`), patch.Options{MaxSize: 1 << 20})
			}
			if pe, ok := errors.AsType[*patch.Error](err); !ok || pe.Code != "too-costly" {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	list := make([]string, 1001)
	for i := range list {
		list[i] = "delete Patient.gender"
	}
	_, err := applyFHIR(t, pat, ops(list...))
	if pe, ok := errors.AsType[*patch.Error](err); !ok || pe.Code != "too-costly" {
		t.Error(err)
	}
	nest := make([]string, 60)
	for i := range nest {
		nest[i] = `add Patient` + strings.Repeat(".extension", i) + ` extension | ` + val(`"part":[{"name":"url","valueUri":"u"}]`)
	}
	_, err = applyFHIR(t, pat, ops(nest...))
	if pe, ok := errors.AsType[*patch.Error](err); !ok || pe.Code != "too-costly" {
		t.Error(err)
	}
}
