/** A message of the demonstration's day, and which door it takes. */
export interface DayMessage {
  readonly door: 'hl7v2' | 'script' | 'fax';
  readonly body: string | Buffer;
}

/** A made-up person. */
export interface DayPatient {
  readonly mrn: string;
  readonly family: string;
  readonly given: string;
  readonly sex: 'M' | 'F';
  /** YYYYMMDD. */
  readonly born: string;
}

const families = ['Abbott', 'Brandt', 'Castillo', 'Dubois', 'Eriksen', 'Farkas', 'Gallo', 'Hoang', 'Ito', 'Jansen'] as const;
const givenNames = ['Ada', 'Bruno', 'Carla', 'Dario', 'Elif', 'Felix', 'Greta', 'Hugo', 'Ines', 'Jonas'] as const;
const wards = ['2 WEST^201^A', '3 EAST^310^B', 'ICU^4^A'] as const;
const drugs = [
  { code: '313782', name: 'Acetaminophen 325 MG Oral Tablet', ndc: '00904672070', dose: '325' },
  { code: '314076', name: 'Lisinopril 10 MG Oral Tablet', ndc: '00093111298', dose: '10' },
  { code: '860975', name: 'Metformin hydrochloride 500 MG Oral Tablet', ndc: '00093104898', dose: '500' },
] as const;

/** The people of the day: the same every time. */
export function dayPatients(count: number): DayPatient[] {
  return Array.from({ length: count }, (_, index) => ({
    mrn: `D${1000 + index}`,
    family: families[index % families.length]!,
    given: givenNames[(index * 3 + Math.floor(index / 10)) % givenNames.length]!,
    sex: index % 2 === 0 ? 'F' : 'M',
    born: `19${50 + (index % 45)}${String(1 + (index % 12)).padStart(2, '0')}${String(1 + (index % 28)).padStart(2, '0')}`,
  }));
}

/** A day in a hospital: everyone is admitted, moved, given a medicine and sent home, with prescriptions and a fax in between. */
export function dayMessages(patients: readonly DayPatient[], day: string): DayMessage[] {
  const messages: DayMessage[] = [];
  for (const [index, patient] of patients.entries()) {
    const at = (hour: number): string => `${day.replaceAll('-', '')}${String(hour).padStart(2, '0')}${String(index % 60).padStart(2, '0')}00+0000`;
    const adt = (trigger: string, hour: number, ward: string, more: readonly string[] = []): void => {
      messages.push({ door: 'hl7v2', body: message(`ADT^${trigger}`, `${day}-${trigger}-${index}`, at(hour), [`EVN|${trigger}|${at(hour)}`, pid(patient), pv1(patient, ward, at(7), trigger === 'A03' ? at(hour) : ''), ...more]) });
    };
    const drug = drugs[index % drugs.length]!;
    adt('A01', 7, wards[0], ['AL1|1|DA|70618^Penicillin^RXNORM|SV|Rash', 'IN1|1|HMO^Plan|4711|Demo Health Plan']);
    messages.push({ door: 'hl7v2', body: order(patient, drug, `${day}-${index}`, at(9)) });
    if (index % 3 === 0) adt('A02', 11, wards[1 + (index % 2)]!);
    if (index % 4 === 0) messages.push({ door: 'script', body: newRx(patient, drug, `${day}-rx-${index}`, `${day}T12:00:00Z`) });
    if (index % 5 === 0) adt('A08', 13, wards[0]);
    adt('A03', 16, wards[0]);
  }
  messages.push({ door: 'fax', body: faxPage() });
  return messages;
}

function message(type: string, controlId: string, at: string, segments: readonly string[]): string {
  return [`MSH|^~\\&|ADT|DEMO HOSPITAL|INTERLOCK|DEMO|${at}||${type}|${controlId}|P|2.5.1|||||||UNICODE UTF-8`, ...segments, ''].join('\r');
}

function pid({ mrn, family, given, sex, born }: DayPatient): string {
  return `PID|1||${mrn}^^^DEMO&2.16.840.1.113883.19.5&ISO^MR||${family}^${given}||${born}|${sex}|||1 Example Street^^Springfield^MA^01101^USA||^PRN^PH^^1^555^5550100`;
}

function pv1({ mrn }: DayPatient, ward: string, admitted: string, discharged: string): string {
  return `PV1|1|I|${ward}^DEMO HOSPITAL|||||||MED|||||||1234567893^House^Gregory^^^Dr^^^NPI|IP|V${mrn}^^^DEMO&2.16.840.1.113883.19.5&ISO^VN|||||||||||||||||||||||||${admitted}|${discharged}`;
}

function order(patient: DayPatient, { code, name, dose }: (typeof drugs)[number], id: string, at: string): string {
  return message('RDE^O11^RDE_O11', `RDE-${id}`, at, [
    pid(patient),
    `ORC|NW|P${id}^CPOE|F${id}^PHARM||||||${at}|||1234567893^House^Gregory^^^Dr^^^NPI`,
    `RXE|^^^${at}|${code}^${name}^RXNORM|${dose}||mg|TAB^Tablet|||30||TAB`,
    'RXR|PO^Oral',
  ]);
}

function newRx(patient: DayPatient, { code, name, ndc }: (typeof drugs)[number], id: string, sentAt: string): string {
  const born = `${patient.born.slice(0, 4)}-${patient.born.slice(4, 6)}-${patient.born.slice(6)}`;
  return `<?xml version="1.0" encoding="UTF-8"?>
<Message DatatypesVersion="2017071" TransportVersion="2017071" TransactionDomain="SCRIPT" TransactionVersion="2017071">
<Header><To Qualifier="P">7701630</To><From Qualifier="D">6301875277001</From><MessageID>${id}</MessageID><SentTime>${sentAt}</SentTime><PrescriberOrderNumber>PO-${id}</PrescriberOrderNumber></Header>
<Body><NewRx>
<Patient><HumanPatient><Identification><MedicalRecordIdentificationNumberEHR>${patient.mrn}</MedicalRecordIdentificationNumberEHR></Identification><Name><LastName>${patient.family}</LastName><FirstName>${patient.given}</FirstName></Name><Gender>${patient.sex}</Gender><DateOfBirth><Date>${born}</Date></DateOfBirth></HumanPatient></Patient>
<Pharmacy><Identification><NCPDPID>7701630</NCPDPID></Identification><BusinessName>Demo Pharmacy</BusinessName></Pharmacy>
<Prescriber><NonVeterinarian><Identification><NPI>1234567893</NPI></Identification><Name><LastName>House</LastName><FirstName>Gregory</FirstName></Name></NonVeterinarian></Prescriber>
<MedicationPrescribed><DrugDescription>${name}</DrugDescription><DrugCoded><ProductCode><Code>${ndc}</Code><Qualifier>ND</Qualifier></ProductCode><DrugDBCode><Code>${code}</Code><Qualifier>SCD</Qualifier></DrugDBCode></DrugCoded><Quantity><Value>30</Value><CodeListQualifier>38</CodeListQualifier><QuantityUnitOfMeasure><Code>C48542</Code></QuantityUnitOfMeasure></Quantity><DaysSupply>30</DaysSupply><WrittenDate><Date>${sentAt.slice(0, 10)}</Date></WrittenDate><Substitutions>0</Substitutions><NumberOfRefills>2</NumberOfRefills><Sig><SigText>Take 1 tablet by mouth every day</SigText></Sig></MedicationPrescribed>
</NewRx></Body></Message>`;
}

/** A fax of one page: the smallest PDF that viewers open. */
function faxPage(): Buffer {
  const content = 'BT /F1 18 Tf 72 720 Td (Referral letter, demonstration) Tj ET';
  const objects = [
    '<</Type/Catalog/Pages 2 0 R>>',
    '<</Type/Pages/Kids[3 0 R]/Count 1>>',
    '<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>',
    `<</Length ${content.length}>>stream\n${content}\nendstream`,
    '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>',
  ];
  let pdf = '%PDF-1.4\n';
  const offsets = objects.map((object, index) => {
    const offset = pdf.length;
    pdf += `${index + 1} 0 obj${object}endobj\n`;
    return offset;
  });
  const table = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('');
  pdf += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}trailer<</Size ${objects.length + 1}/Root 1 0 R>>\nstartxref\n${pdf.length}\n%%EOF\n`;
  return Buffer.from(pdf);
}
