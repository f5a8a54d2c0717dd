//! Bytes a second on one core: ordinary events without findings, and events in which most values are some.
//!
//! Targets, the tape included: 500 MB/s on clean events, 150 MB/s on dense ones. The tape alone is there to tell what
//! looking costs beside reading.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{ClassSet, Confidence, Scanner};

/// What a shop, a warehouse and a service say all day.
const CLEAN: &[&str] = &[
    r#"{"specversion":"1.0","id":"5f3c1f0e-8a54-4c86-9d0b-2f4f8e1b7a11","source":"/eu-1/shop","type":"com.acme.orders.created","time":"2026-03-14T09:26:53.589Z","datacontenttype":"application/json","data":{"orderId":"ORD-2026-104233","status":"PAYMENT_RECEIVED","currency":"EUR","total":129.90,"lines":[{"sku":"ABC-1234-XL","title":"Steel bolt M8 x 40","qty":12,"price":4.95},{"sku":"KLM-0042-S","title":"Wireless mouse","qty":1,"price":70.50}],"warehouse":"WH07-A12-003"}}"#,
    r#"{"specversion":"1.0","id":"c0a8f0d2-1b7e-4f0e-b6a4-6d9f64a1f2c3","source":"/us-1/logistics","type":"com.acme.shipment.moved","time":"2026-03-14T09:26:54.001Z","data":{"shipment":"SHP-88412","carrier":"ACME Express","trackingNumber":"RR970403776DE","legs":[{"from":"Rotterdam","to":"Hamburg","status":"DONE"},{"from":"Hamburg","to":"Gdansk","status":"PLANNED"}],"weight":18.25,"pallets":2,"fragile":false,"note":"leave at the loading dock behind the main building"}}"#,
    r#"{"specversion":"1.0","id":"9d2b6a3c-55aa-4c11-8a3d-0f6f4f5e2b19","source":"/eu-1/metrics","type":"com.acme.service.sample","time":"2026-03-14T09:26:54.120Z","data":{"service":"checkout","version":"4.18.2","region":"eu-central","latency":{"p50":12.25,"p90":40.5,"p99":118.75},"requests":18442,"errors":3,"commit":"bf859249de15f2fde2b2399d8d6485cc6643b632","healthy":true,"message":"all replicas are in service"}}"#,
];

const DENSE: &[&str] = &[
    r#"{"id":"5f3c1f0e-8a54-4c86-9d0b-2f4f8e1b7a11","source":"/eu-1/crm","time":"2026-03-14T09:26:53.589Z","data":{"customer":{"firstName":"Anna","lastName":"Schmidt","email":"anna.schmidt@example.com","phone":"+49 30 901820","birthDate":"1987-05-12","address":{"street":"Hauptstr. 12","city":"Berlin"}},"payment":{"cardNumber":"4111 1111 1111 1111","iban":"DE89370400440532013000","bic":"DEUTDEFF500"},"taxId":"86095742719"}}"#,
    r#"{"id":"c0a8f0d2-1b7e-4f0e-b6a4-6d9f64a1f2c3","source":"/us-1/crm","time":"2026-03-14T09:26:54.001Z","data":{"name":"Jane Roe","ssn":"536-22-1234","clientIp":"203.0.113.77","mac":"A4:5E:60:C2:11:0F","note":"Customer called from 415-555-2671 about card 5555 5555 5555 4444, wants mail to jane.roe@example.org","idCard":"11010519491231002X","cpf":"529.982.247-25","vin":"1M8GDM9AXKP042788"}}"#,
];

fn scan(criterion: &mut Criterion) {
    for (name, events) in [("clean", CLEAN), ("dense", DENSE)] {
        let bytes: usize = events.iter().map(|event| event.len()).sum();
        let mut group = criterion.benchmark_group("scan");
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut buffer = TapeBuffer::new();
        let mut scanner = Scanner::new();
        let mut found = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for event in events {
                    found.clear();
                    let tape = buffer.parse(black_box(event)).expect("JSON");
                    scanner
                        .scan_json(&tape, &ClassSet::ALL, Confidence::Medium, &mut found)
                        .expect("in budget");
                    black_box(&found);
                }
            });
        });
        group.bench_function(format!("{name}_tape_only"), |bencher| {
            bencher.iter(|| {
                for event in events {
                    black_box(buffer.parse(black_box(event)).expect("JSON").nodes().len());
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, scan);
criterion_main!(benches);
