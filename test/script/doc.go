// Package script runs the real binary from the scripts in testdata: what a user
// types, and what comes back.
//
// A script is a txtar archive of testscript. Besides its commands there are:
//
//	serve [ARG...]                start hygeia serve on $WORK/data and a free port, wait until it is
//	                              ready; $URL is its address without a slash at the end
//	demo                          the same with hygeia demo
//	http METHOD URL STATUS [FILE] [HEADER:VALUE...]
//	                              send a request, with FILE as its body, and demand the status;
//	                              the answer is in $WORK/body, its header in $WORK/header
//	end                           send SIGTERM and demand exit code 0 (stop is a command of testscript that skips the rest)
//	crash                         send SIGKILL
//	keep NAME                     put the standard output of the last command into a variable
//	tamper FILE                   change one byte in the second line of a file
//
// The log of the server is in $WORK/log.
package script
