import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.interceptor.BearerTokenAuthInterceptor;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import org.hl7.fhir.r4.model.*;

/** What an app does with HAPI's client, unchanged: FHIR_BASE and FHIR_TOKEN say where and as whom, javax.net.ssl.trustStore whom to trust. */
public final class HapiClient {
  private static int calls;

  public static void main(String[] arguments) {
    FhirContext context = FhirContext.forR4();
    context.getRestfulClientFactory().setSocketTimeout(30_000);
    for (EncodingEnum encoding : new EncodingEnum[] {EncodingEnum.JSON, EncodingEnum.XML}) {
      IGenericClient client = context.newRestfulGenericClient(System.getenv("FHIR_BASE"));
      client.registerInterceptor(new BearerTokenAuthInterceptor(System.getenv("FHIR_TOKEN")));
      client.setEncoding(encoding);
      play(client, "hapi-" + ProcessHandle.current().pid() + "-" + encoding);
    }
    System.out.println("hapi-fhir-client: " + calls + " calls in JSON and XML, all as expected");
  }

  private static void play(IGenericClient client, String value) {
    expect("4.0.1".equals(client.capabilities().ofType(CapabilityStatement.class).execute().getFhirVersion().toCode()));
    Patient patient = new Patient();
    patient.addIdentifier().setSystem("urn:example:client").setValue(value);
    patient.addName().setFamily("Happy").addGiven("Ina");
    MethodOutcome created = client.create().resource(patient).execute();
    expect(created.getCreated() && created.getId().getVersionIdPart().equals("1"));
    String id = created.getId().getIdPart();
    MethodOutcome again = client.create().resource(patient).conditional().where(Patient.IDENTIFIER.exactly().systemAndIdentifier("urn:example:client", value)).execute();
    expect(again.getId().getIdPart().equals(id));
    Patient read = client.read().resource(Patient.class).withId(id).execute();
    expect(read.getNameFirstRep().getFamily().equals("Happy"));
    read.setActive(true);
    expect(client.update().resource(read).execute().getId().getVersionIdPart().equals("2"));
    try {
      client.update().resource(read).withId(id).withAdditionalHeader("If-Match", "W/\"1\"").execute();
      expect(false);
    } catch (PreconditionFailedException stale) {
      expect(true);
    }
    client.patch().withBody("[{\"op\":\"replace\",\"path\":\"/active\",\"value\":false}]").withId("Patient/" + id).execute();
    expect(!client.read().resource(Patient.class).withId(id).execute().getActive());
    expect(client.history().onInstance(new IdType("Patient", id)).returnBundle(Bundle.class).execute().getEntry().size() == 3);
    expect(client.vread(Patient.class, id, "1").getMeta().getVersionId().equals("1"));

    for (int n = 0; n < 3; n++) {
      Observation observation = new Observation();
      observation.setStatus(Observation.ObservationStatus.FINAL).setCode(new CodeableConcept().setText("x")).setSubject(new Reference("Patient/" + id));
      observation.setValue(new Quantity().setValue(n + 1).setUnit("mg").setSystem("http://unitsofmeasure.org").setCode("mg"));
      client.create().resource(observation).execute();
    }
    Bundle page = client.search().forResource(Observation.class).where(Observation.SUBJECT.hasId("Patient/" + id)).include(Observation.INCLUDE_SUBJECT).count(2).returnBundle(Bundle.class).execute();
    expect(page.getEntry().size() == 3);
    expect(client.loadPage().next(page).execute().getEntry().size() == 2);
    expect(client.search().forResource(Observation.class).where(Observation.SUBJECT.hasChainedProperty(Patient.NAME.matches().value("happy"))).and(Observation.VALUE_QUANTITY.greaterThan().number(1).andUnits("http://unitsofmeasure.org", "mg")).and(Observation.SUBJECT.hasId(id)).returnBundle(Bundle.class).execute().getTotal() == 2);
    expect(client.search().forResource(Patient.class).where(Patient.IDENTIFIER.exactly().systemAndCode("urn:example:client", value)).usingStyle(ca.uhn.fhir.rest.api.SearchStyleEnum.POST).returnBundle(Bundle.class).execute().getTotal() == 1);
    expect(client.operation().onInstance(new IdType("Patient", id)).named("$everything").withNoParameters(Parameters.class).useHttpGet().returnResourceType(Bundle.class).execute().getEntry().size() == 4);
    expect(client.validate().resource(patient).execute().getOperationOutcome() != null);

    Bundle transaction = new Bundle().setType(Bundle.BundleType.TRANSACTION);
    transaction.addEntry().setResource(new Patient().setActive(true)).getRequest().setMethod(Bundle.HTTPVerb.POST).setUrl("Patient");
    expect(client.transaction().withBundle(transaction).execute().getEntryFirstRep().getResponse().getStatus().startsWith("201"));
    client.delete().resourceConditionalByUrl("Observation?subject=Patient/" + id + "&value-quantity=1").execute();
    for (Bundle.BundleEntryComponent entry : client.search().forResource(Observation.class).where(Observation.SUBJECT.hasId(id)).returnBundle(Bundle.class).execute().getEntry()) client.delete().resource(entry.getResource()).execute();
    client.delete().resourceById("Patient", id).execute();
    try {
      client.read().resource(Patient.class).withId(id).execute();
      expect(false);
    } catch (ResourceGoneException gone) {
      expect(true);
    }
  }

  private static void expect(boolean condition) {
    calls++;
    if (!condition) throw new IllegalStateException("call " + calls + " was not answered as expected");
  }
}
