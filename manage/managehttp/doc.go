// Package managehttp is the HTTP edge of the management plane.
//
// The routes, below /manage/v1:
//
//	GET    /workspaces                            list
//	GET    /workspaces/{workspace}                show
//	PUT    /workspaces/{workspace}                create (201) or change (200)
//	DELETE /workspaces/{workspace}[?force=true]   delete; 409 with services in it unless forced
//	GET    /workspaces/{workspace}/fhirservices            list
//	GET    /workspaces/{workspace}/fhirservices/{service}  show
//	PUT    /workspaces/{workspace}/fhirservices/{service}  create (201) or change (200)
//	DELETE /workspaces/{workspace}/fhirservices/{service}  delete, with all data
//	GET    /jobs[?kind=&service=&state=&limit=&after=]     list, newest first
//	GET    /jobs/{job}                            show, with its parts
//	DELETE /jobs/{job}                            cancel (202); 409 when it is finished
//	GET    /openapi.json                          the description of all this, OpenAPI 3.1
//
// The collections dicomservices and medtechservices answer 501 in this version.
// A list is {"value": [...]} as in Azure Resource Manager. Errors are
// application/problem+json (RFC 9457).
package managehttp
