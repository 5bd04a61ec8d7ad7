"""What an app does with fhirclient, unchanged.

FHIR_BASE, CLIENT_ID, REDIRECT_URI and SCOPE say where and as what, CLIENT_SECRET how it authenticates, LAUNCH what an EHR launched it
with, REQUESTS_CA_BUNDLE whom to trust. Prints where to send the browser, reads where the browser was sent back to.
"""

import os

from fhirclient import client
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient

settings = {
    "api_base": os.environ["FHIR_BASE"],
    "app_id": os.environ["CLIENT_ID"],
    "app_secret": os.environ.get("CLIENT_SECRET"),
    "redirect_uri": os.environ["REDIRECT_URI"],
    "scope": os.environ["SCOPE"],
    "launch_token": os.environ.get("LAUNCH"),
}
smart = client.FHIRClient(settings=settings)
assert smart.prepare() is False
print(smart.authorize_url, flush=True)
smart.handle_callback(input())

assert smart.ready
assert smart.patient.id == smart.patient_id
assert smart.human_name(smart.patient.name[0]) == "ada Sample"
found = Observation.where(struct={"patient": smart.patient_id}).perform_resources(smart.server)
assert len(found) == 2, found

before = smart.server.auth.access_token
assert smart.reauthorize()
assert smart.server.auth.access_token != before
assert Patient.read(smart.patient_id, smart.server).birthDate.isostring == "1970-02-14"
print("fhirclient (Python): launch, read and refresh as expected")
