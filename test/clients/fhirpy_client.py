"""What an app does with fhirpy, unchanged: FHIR_BASE and FHIR_TOKEN say where and as whom, SSL_CERT_FILE whom to trust."""

import asyncio
import os

from fhirpy import AsyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound


async def main() -> None:
    client = AsyncFHIRClient(os.environ["FHIR_BASE"], authorization="Bearer " + os.environ["FHIR_TOKEN"])
    value = f"fhirpy-{os.getpid()}"
    patient = client.resource("Patient", identifier=[{"system": "urn:example:client", "value": value}], name=[{"family": "Pye"}])
    await patient.save()
    assert patient.id
    patient["active"] = True
    await patient.save()
    for _ in range(5):
        await client.resource("Observation", status="final", code={"text": "x"}, subject=patient.to_reference()).save()

    observations = client.resources("Observation").search(patient=patient.id, status="final")
    assert await observations.count() == 5
    assert len(await observations.limit(2).fetch()) == 2
    assert len(await observations.limit(2).fetch_all()) == 5
    assert (await client.resources("Patient").search(identifier=f"urn:example:client|{value}").get()).id == patient.id
    assert (await client.resources("Patient").search(identifier=f"urn:example:client|{value}").first())["name"][0]["family"] == "Pye"
    chained = client.resources("Observation").search(patient__Patient__name="Pye", patient=patient.id)
    assert await chained.count() == 5
    assert len(await client.resources("Observation").search(patient=patient.id).include("Observation", "subject").fetch()) == 5
    await client.reference("Patient", patient.id).to_resource()
    assert await client.resource("Patient", gender="female").is_valid()

    try:
        await client.resource("Patient", gender="neither").save()
        raise AssertionError("a wrong code was stored")
    except OperationOutcome:
        pass
    for observation in await observations.fetch_all():
        await observation.delete()
    await patient.delete()
    try:
        await client.resources("Patient").search(identifier=f"urn:example:client|{value}").get()
        raise AssertionError("what was deleted is found")
    except ResourceNotFound:
        pass
    print("fhirpy: all calls as expected")


asyncio.run(main())
