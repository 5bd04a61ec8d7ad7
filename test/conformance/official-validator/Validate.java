import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/** Validates files of FHIR JSON (one resource, or one per line in .ndjson) with HL7's validator and prints every error. */
public final class Validate {
  public static void main(String[] files) throws Exception {
    FhirContext context = FhirContext.forR4();
    FhirInstanceValidator module = new FhirInstanceValidator(new ValidationSupportChain(
        new DefaultProfileValidationSupport(context),
        new CommonCodeSystemsTerminologyService(context),
        new InMemoryTerminologyServerValidationSupport(context)));
    // Profiles and code systems that the validator does not carry are none of its business here.
    module.setErrorForUnknownProfiles(false);
    module.setNoTerminologyChecks(false);
    module.setAnyExtensionsAllowed(true);
    module.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
    FhirValidator validator = context.newValidator().registerValidatorModule(module);
    Map<String, Integer> counts = new TreeMap<>();
    int resources = 0;
    int errors = 0;
    for (String file : files) {
      List<String> texts = file.endsWith(".ndjson") ? Files.readAllLines(Path.of(file)) : List.of(Files.readString(Path.of(file)));
      for (String text : texts) {
        if (text.isBlank()) continue;
        resources++;
        for (var message : validator.validateWithResult(text).getMessages()) {
          if (message.getSeverity().ordinal() < ResultSeverityEnum.ERROR.ordinal()) continue;
          errors++;
          String place = message.getLocationString() == null ? "" : message.getLocationString().replaceAll("\\[\\d+\\]", "");
          counts.merge(place + "  " + message.getMessageId() + "  " + message.getMessage().replaceAll("'[^']{0,200}'", "'…'"), 1, Integer::sum);
        }
      }
    }
    counts.forEach((message, count) -> System.out.println(count + "  " + message));
    System.out.println(resources + " resources, " + errors + " errors");
    System.exit(errors == 0 ? 0 : 1);
  }
}
