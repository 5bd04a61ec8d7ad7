import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * Validates files of FHIR JSON (one resource, or one per line in .ndjson) with HL7's validator and prints every error. Of
 * files that stand before an argument `--`, errors are counted apart, and what is wrong in them is not counted again after it.
 */
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
    Set<String> known = new HashSet<>();
    int resources = 0;
    int errors = 0;
    int inherited = 0;
    for (String file : files) {
      if (file.equals("--")) {
        known.addAll(counts.keySet());
        report("sent", counts, resources, errors);
        counts.clear();
        resources = 0;
        errors = 0;
        continue;
      }
      List<String> texts = file.endsWith(".ndjson") ? Files.readAllLines(Path.of(file)) : List.of(Files.readString(Path.of(file)));
      for (String text : texts) {
        if (text.isBlank()) continue;
        resources++;
        for (var message : validator.validateWithResult(text).getMessages()) {
          if (message.getSeverity().ordinal() < ResultSeverityEnum.ERROR.ordinal()) continue;
          // A profile that a resource claims by itself is an error to it, whatever was set above.
          if ("Validation_VAL_Profile_Unknown".equals(message.getMessageId())) continue;
          String place = message.getLocationString() == null ? "" : message.getLocationString().replaceAll("\\[\\d+\\]", "");
          String key = place.replaceAll("^Bundle\\.entry\\.resource(?:/\\*([A-Za-z]+)/[^*]*\\*/|\\.ofType\\(([A-Za-z]+)\\))?", "$1$2") + "  " + message.getMessageId() + "  " + message.getMessage().replaceAll("'[^']{0,200}'", "'…'");
          if (known.contains(key)) {
            inherited++;
            continue;
          }
          errors++;
          counts.merge(key, 1, Integer::sum);
        }
      }
    }
    report("answered", counts, resources, errors);
    System.out.println(inherited + " errors came with what was sent");
    System.exit(errors == 0 ? 0 : 1);
  }

  private static void report(String what, Map<String, Integer> counts, int resources, int errors) {
    counts.forEach((message, count) -> System.out.println(count + "  " + message));
    System.out.println(what + ": " + resources + " resources, " + errors + " errors");
  }
}
