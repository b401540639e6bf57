// Package request turns what a client sends to a Docker Engine into a [Call]:
// which action it is, on which object, with which body. It only decides.
//
// It takes less than an Engine does, on purpose. An Engine reads one request in
// many spellings; a rule that knows one of them is walked around by the others.
// So a request has one spelling here, and whatever else is refused:
//
//   - the path is one of the table of [Routes], with a version of the form /v1.41
//     or none, without percent signs, empty parts or dots;
//   - a parameter is known to its route, and is there once unless it is a list;
//   - a JSON body is announced as one, seen whole, is one value, has each key once,
//     spelled as the Engine's own types spell it, and no key that they lack;
//   - a body that is a form, which Engines read in place of parameters, is no body.
//
// What remains is decoded by encoding/json, as the Engine does it.
package request
