package search

// op says how an element of one FHIR type becomes entries of one kind of
// parameter (R4 section 3.1.1.4, the table of each parameter type).
type op uint8

const (
	opNone          op = iota // no rule: the type does not occur in such a parameter
	opSkip                    // a type that the parameter allows, but that has nothing to search
	opTokenCode               // code, string, boolean, ...: the text is the code
	opTokenCoding             //
	opTokenConcept            //
	opTokenID                 // Identifier
	opTokenContact            // ContactPoint
	opString                  //
	opStringName              // HumanName
	opStringAddress           //
	opDate                    // date, dateTime, instant
	opDatePeriod              //
	opDateTiming              //
	opNumber                  // integer, decimal
	opNumberRange             // Range without units
	opQuantity                //
	opQuantityRange           //
	opMoney                   //
	opReference               //
	opCanonical               // canonical, uri
	opInline                  // a resource in place of a reference to it (Bundle.entry.resource)
	opURI                     //
	opPosition                // Location.position
	opComposite               // the base element of a composite
)

// ops is the table from parameter kind and FHIR type to op.
var ops = map[Kind]map[string]op{
	Token: {
		"code": opTokenCode, "boolean": opTokenCode, "string": opTokenCode, "uri": opTokenCode,
		"url": opTokenCode, "canonical": opTokenCode, "oid": opTokenCode, "uuid": opTokenCode,
		"id": opTokenCode, "markdown": opTokenCode, "integer": opTokenCode,
		"positiveInt": opTokenCode, "unsignedInt": opTokenCode, "decimal": opTokenCode,
		"date": opTokenCode, "dateTime": opTokenCode, "Boolean": opTokenCode, "String": opTokenCode,
		"Coding": opTokenCoding, "CodeableConcept": opTokenConcept,
		"Identifier": opTokenID, "ContactPoint": opTokenContact,
	},
	String: {
		"string": opString, "markdown": opString, "code": opString, "uri": opString, "id": opString,
		"String": opString, "HumanName": opStringName, "Address": opStringAddress,
	},
	Date: {
		"date": opDate, "dateTime": opDate, "instant": opDate, "Period": opDatePeriod, "Timing": opDateTiming,
	},
	Number: {
		"integer": opNumber, "decimal": opNumber, "positiveInt": opNumber, "unsignedInt": opNumber,
		"Range": opNumberRange,
	},
	Quantity: {
		"Quantity": opQuantity, "Age": opQuantity, "Duration": opQuantity, "Distance": opQuantity,
		"Count": opQuantity, "Money": opMoney, "Range": opQuantityRange, "SampledData": opSkip,
	},
	Reference: {
		"Reference": opReference, "canonical": opCanonical, "uri": opCanonical, "url": opCanonical,
		"Resource": opInline,
	},
	Special: {
		"Location.position": opPosition,
	},
	URI: {
		"uri": opURI, "url": opURI, "canonical": opURI, "oid": opURI, "uuid": opURI,
	},
}

// many reports whether one element can give more than one entry.
func (o op) many() bool {
	return o == opTokenConcept || o == opStringName || o == opStringAddress
}
