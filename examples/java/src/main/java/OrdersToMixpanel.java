import java.util.List;
import org.apache.beam.fn.harness.ExternalWorkerService;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult.State;
import org.apache.beam.sdk.extensions.python.PythonExternalTransform;
import org.apache.beam.sdk.fn.server.GrpcFnServer;
import org.apache.beam.sdk.io.TextIO;
import org.apache.beam.sdk.options.Default;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.options.PortablePipelineOptions;
import org.apache.beam.sdk.options.Validation.Required;
import org.apache.beam.sdk.schemas.Schema;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.PCollectionTuple;
import org.apache.beam.sdk.values.Row;
import org.apache.beam.sdk.values.TupleTag;
import org.apache.beam.sdk.values.TypeDescriptors;
import org.joda.time.Instant;

/** Imports orders into Mixpanel; what cannot be imported becomes lines for replay_dead_letters. */
public class OrdersToMixpanel {
  private static final Schema ORDER =
      Schema.builder()
          .addStringField("order_id")
          .addNullableField("ordered_at", Schema.FieldType.DATETIME)
          .addStringField("customer")
          .addDoubleField("total")
          .build();

  private static final Row MAPPING =
      Row.withSchema(
              Schema.builder()
                  .addStringField("event")
                  .addStringField("time_column")
                  .addStringField("user_id_column")
                  .addArrayField("insert_id_columns", Schema.FieldType.STRING)
                  .build())
          .addValues("Order Placed", "ordered_at", "customer", List.of("order_id"))
          .build();

  private static final Row ERROR_HANDLING =
      Row.withSchema(Schema.builder().addStringField("output").build())
          .addValue("dead_letters")
          .build();

  /** What a command line takes beside Beam's own. */
  public interface Options extends PipelineOptions {
    @Required
    String getExpansionService();

    void setExpansionService(String value);

    @Default.String("env:MIXPANEL_PROJECT_TOKEN")
    String getProjectToken();

    void setProjectToken(String value);

    @Default.String("https://api.mixpanel.com")
    String getApiHost();

    void setApiHost(String value);

    @Required
    String getDeadLetters();

    void setDeadLetters(String value);
  }

  public static void main(String[] args) throws Exception {
    Options options = PipelineOptionsFactory.fromArgs(args).withValidation().as(Options.class);
    PortablePipelineOptions portable = options.as(PortablePipelineOptions.class);
    if (!"LOOPBACK".equals(portable.getDefaultEnvironmentType())) {
      run(options);
      return;
    }
    // Beam 2.65 knows no other languages under LOOPBACK, so do here what it does:
    // https://github.com/apache/beam/issues/34594
    try (GrpcFnServer<ExternalWorkerService> workers = new ExternalWorkerService(options).start()) {
      portable.setDefaultEnvironmentType("EXTERNAL");
      portable.setDefaultEnvironmentConfig(workers.getApiServiceDescriptor().getUrl());
      run(options);
    }
  }

  private static void run(Options options) {
    Pipeline pipeline = Pipeline.create(options);
    importOrders(pipeline, options);
    State state = pipeline.run().waitUntilFinish();
    if (state != State.DONE) {
      throw new IllegalStateException("the job ended as " + state);
    }
  }

  private static void importOrders(Pipeline pipeline, Options options) {
    PCollection<Row> orders = pipeline.apply("Orders", Create.of(
            order("1", Instant.parse("2026-10-01T10:00:00Z"), "c1", 10.5),
            order("2", Instant.parse("2026-10-01T11:00:00Z"), "c2", 3),
            order("3", null, "c3", 1)).withRowSchema(ORDER));

    PCollectionTuple written = orders.apply("WriteToMixpanel",
        PythonExternalTransform.<PCollection<Row>, PCollectionTuple>from(
                "beam_mixpanel.yaml.WriteToMixpanel", options.getExpansionService())
            .withKwarg("project_token", options.getProjectToken())
            .withKwarg("api_host", options.getApiHost())
            .withKwarg("mapping", MAPPING)
            .withKwarg("error_handling", ERROR_HANDLING));

    written.get(new TupleTag<Row>("dead_letters"))
        .apply(MapElements.into(TypeDescriptors.strings()).via(letter -> letter.getString("line")))
        .apply("WriteDeadLetters", TextIO.write().to(options.getDeadLetters()).withSuffix(".jsonl"));
  }

  private static Row order(String id, Instant at, String customer, double total) {
    return Row.withSchema(ORDER).addValues(id, at, customer, total).build();
  }
}
