// Package volapi is the wire form of Docker's volume plugins: what the Engine
// sends and what it reads, from 20.10 to the newest. The types agree with
// go-plugins-helpers.
//
// Facts that decide how a driver must answer:
//
//   - Before each call that names a volume the Engine asks Get. Any answered
//     error there means "no such volume": the Engine forgets the volume's labels
//     and which containers use it. A driver that does not know must not answer,
//     see pluginsrv.ErrHangUp.
//   - Names are not checked by the Engine; "../x" and "a b" arrive as they are.
//   - Options reach Create only, labels nobody.
//   - The ID of Mount and Unmount is a container's, but neither a count of them
//     nor a set comes out right over "docker cp" and restarts of the Engine.
package volapi
