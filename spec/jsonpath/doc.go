// Package jsonpath evaluates JSONPath in the dialect of Newtonsoft.Json, the one
// in which device mappings are written.
//
// It is Goessner's JSONPath of 2007 with these traits, which RFC 9535 and most
// libraries do not share:
//
//   - Inside a filter the dot after @ may be left out: [?(@heartRate)],
//     [?(@Body.x)]. Names may hold hyphens: $.Properties.iothub-creation-time-utc.
//   - $..[?(...)] looks at the value itself and all below it, so that the root
//     can match. [?(...)] without the two dots looks at the items of an array.
//   - [*] and [0] are for arrays only; .* takes the members of an object.
//   - && and || nest to the right in the order in which they are written and
//     have no precedence; there are no parentheses and no negation.
//   - A comparison with text or a number converts: '5' > 4 holds, and 5 == '5'
//     does not.
//   - =~ /pattern/i matches a string by a regular expression.
//
// Where that library throws while it evaluates (a negative index, text compared
// with a number that it is not), this package finds nothing.
//
// Reading order: path.go (the steps), parse.go, filter.go (conditions).
package jsonpath
